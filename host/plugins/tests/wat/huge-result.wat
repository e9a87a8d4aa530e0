;; Returns lists that all point to the same large piece of memory: far more than it owns.
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
    (local $at i32)
    (local.set $at (i32.const 65536))
    ;; each message has 2,000 rejects, each with the same reason of 32 KiB
    (i32.store (i32.const 32) (i32.const 1024))
    (i32.store (i32.const 36) (local.get $count))
    (i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 0))
    (i32.store (i32.const 1032) (i32.const 65536)) (i32.store (i32.const 1036) (i32.const 2000))
    (loop $next
      (i32.store (i32.add (local.get $at) (i32.const 16)) (i32.const 8192))
      (i32.store (i32.add (local.get $at) (i32.const 20)) (i32.const 32768))
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 113536))))
    (i32.const 32))
)
