;; Traps on a message whose payload is not what the first wildcard of the topic filter stood for; accepts all others.
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
  ;; Traps unless the payload of the uplink at $at equals its first capture.
  (func $check (param $at i32)
    (local $capture i32) (local $index i32) (local $length i32)
    (if (i32.eqz (i32.load8_u (i32.add (local.get $at) (i32.const 8)))) (then (unreachable)))     ;; no matched topic
    (if (i32.eqz (i32.load (i32.add (local.get $at) (i32.const 24)))) (then (unreachable)))       ;; no captures
    (local.set $capture (i32.load (i32.add (local.get $at) (i32.const 20))))
    (local.set $length (i32.load (i32.add (local.get $capture) (i32.const 4))))
    (if (i32.ne (local.get $length) (i32.load (i32.add (local.get $at) (i32.const 32)))) (then (unreachable)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (local.get $length)))
        (if (i32.ne
              (i32.load8_u (i32.add (i32.load (local.get $capture)) (local.get $index)))
              (i32.load8_u (i32.add (i32.load (i32.add (local.get $at) (i32.const 28))) (local.get $index))))
          (then (unreachable)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next))))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#decode") (param $messages i32) (param $count i32) (result i32)
    (local $at i32)
    (local.set $at (local.get $messages))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (i32.add (local.get $messages) (i32.mul (local.get $count) (i32.const 48)))))
        (call $check (local.get $at))
        (local.set $at (i32.add (local.get $at) (i32.const 48)))
        (br $next)))
    ;; one empty `decoded` for each message: its two lists are zero, as fresh memory is
    (i32.store (i32.const 32) (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $count) (i32.const 16))))
    (i32.store (i32.const 36) (local.get $count))
    (i32.const 32))
)
