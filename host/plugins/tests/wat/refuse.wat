;; Refuses its configuration with two reasons.
(module
  ;; COMMON
  (data (i32.const 1024) "schema: text expectedrate: number expected")
  (func (export "tidegate:plugin/conversion@0.1.0-draft#configure") (param i32 i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))        ;; err
    (i32.store (i32.const 20) (i32.const 512))       ;; a list
    (i32.store (i32.const 24) (i32.const 2))         ;; of two
    (i32.store (i32.const 512) (i32.const 1024)) (i32.store (i32.const 516) (i32.const 21))
    (i32.store (i32.const 520) (i32.const 1045)) (i32.store (i32.const 524) (i32.const 21))
    (i32.const 16))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#encode") (param i32 i32) (result i32)
    (i32.store (i32.const 48) (i32.const 0))
    (i32.store (i32.const 52) (i32.const 0))
    (i32.const 48))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#decode") (param $messages i32) (param $count i32) (result i32)
    ;; one empty `decoded` for each message: its two lists are zero, as fresh memory is
    (i32.store (i32.const 32) (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $count) (i32.const 16))))
    (i32.store (i32.const 36) (local.get $count))
    (i32.const 32))
)
