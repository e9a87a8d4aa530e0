;; Takes one more page of memory in each call, and traps when it gets none.
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
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
    ;; one empty `decoded` for each message: its two lists are zero, as fresh memory is
    (i32.store (i32.const 32) (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $count) (i32.const 16))))
    (i32.store (i32.const 36) (local.get $count))
    (i32.const 32))
)
