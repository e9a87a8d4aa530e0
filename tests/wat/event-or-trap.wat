;; Makes an event of every message, but traps on one whose payload begins with `x`.
(module
  ;; COMMON
  (func (export "tidegate:plugin/conversion@0.1.0-draft#configure") (param i32 i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))   ;; ok
    (i32.store16 (i32.const 20) (i32.const 1))  ;; operations: telemetry
    (i32.const 16))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#encode") (param i32 i32) (result i32)
    (i32.store (i32.const 48) (i32.const 0))
    (i32.store (i32.const 52) (i32.const 0))
    (i32.const 48))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#decode") (param $messages i32) (param $count i32) (result i32)
    (local $index i32) (local $at i32) (local $decoded i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $count)))
        (local.set $at (i32.add (local.get $messages) (i32.mul (local.get $index) (i32.const 48))))
        ;; the payload is the third field of an uplink: pointer at 28, length at 32
        (if (i32.load (i32.add (local.get $at) (i32.const 32)))
          (then
            (if (i32.eq (i32.load8_u (i32.load (i32.add (local.get $at) (i32.const 28)))) (i32.const 0x78))
              (then (unreachable)))))
        ;; all share one event: { child: none, body: telemetry([]) }, which is zero as fresh memory is
        (local.set $decoded (i32.add (i32.const 1024) (i32.mul (local.get $index) (i32.const 16))))
        (i32.store (local.get $decoded) (i32.const 2048))
        (i32.store (i32.add (local.get $decoded) (i32.const 4)) (i32.const 1))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 32) (i32.const 1024))
    (i32.store (i32.const 36) (local.get $count))
    (i32.const 32))
)
