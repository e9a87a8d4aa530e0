;; Makes far more of a message than it should: by the first byte of the payload 96 rejects of 32 KiB each (`b`), 10,001
;; empty rejects (`r`), or 60,000 values (`v`). Of anything else it makes nothing. Of a command it makes 3 MiB.
(module
  ;; COMMON
  (func (export "tidegate:plugin/conversion@0.1.0-draft#configure") (param i32 i32) (result i32)
    (local $at i32)
    ;; 131,072 to 3,400,000 stays zero
    (drop (memory.grow (i32.const 60)))
    ;; 96 rejects at 3,400,000, each with the same reason of 32 KiB
    (local.set $at (i32.const 3400000))
    (loop $next
      (i32.store (i32.add (local.get $at) (i32.const 16)) (i32.const 131072))
      (i32.store (i32.add (local.get $at) (i32.const 20)) (i32.const 32768))
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 3402304))))
    ;; 40 samples at 3,410,000, each with the same 1,500 entries
    (local.set $at (i32.const 3410000))
    (loop $next
      (i32.store (i32.add (local.get $at) (i32.const 16)) (i32.const 131072))
      (i32.store (i32.add (local.get $at) (i32.const 20)) (i32.const 1500))
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 3410960))))
    ;; an event of telemetry at 3,420,000
    (i32.store (i32.const 3420024) (i32.const 3410000))
    (i32.store (i32.const 3420028) (i32.const 40))
    (i32.store8 (i32.const 16) (i32.const 0))   ;; ok
    (i32.store16 (i32.const 20) (i32.const 1))  ;; operations: telemetry
    (i32.const 16))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#encode") (param i32 i32) (result i32)
    ;; one ok(3 MiB) at 64
    (i32.store (i32.const 68) (i32.const 131072))
    (i32.store (i32.const 72) (i32.const 3145728))
    (i32.store (i32.const 48) (i32.const 64))
    (i32.store (i32.const 52) (i32.const 1))
    (i32.const 48))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#decode") (param $messages i32) (param $count i32) (result i32)
    (local $at i32) (local $out i32) (local $kind i32)
    (local.set $at (local.get $messages))
    (i32.store (i32.const 32) (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $count) (i32.const 16))))
    (i32.store (i32.const 36) (local.get $count))
    (local.set $out (i32.load (i32.const 32)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (i32.add (local.get $messages) (i32.mul (local.get $count) (i32.const 48)))))
        ;; the payload is the third field of an uplink: pointer at 28, length at 32
        (local.set $kind (i32.load8_u (i32.load (i32.add (local.get $at) (i32.const 28)))))
        (if (i32.eq (local.get $kind) (i32.const 0x62))
          (then (i32.store offset=8 (local.get $out) (i32.const 3400000)) (i32.store offset=12 (local.get $out) (i32.const 96))))
        (if (i32.eq (local.get $kind) (i32.const 0x72))
          (then (i32.store offset=8 (local.get $out) (i32.const 131072)) (i32.store offset=12 (local.get $out) (i32.const 10001))))
        (if (i32.eq (local.get $kind) (i32.const 0x76))
          (then (i32.store (local.get $out) (i32.const 3420000)) (i32.store offset=4 (local.get $out) (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 16)))
        (br $next)))
    (i32.const 32))
)
