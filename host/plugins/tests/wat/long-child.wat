;; Names a child whose name is 60,000 bytes long.
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
    ;; one event { child: some(60,000 zero bytes), body: child-disconnect }
    (i32.store (i32.const 32) (i32.const 1024))
    (i32.store (i32.const 36) (local.get $count))
    (i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 0)) (i32.store (i32.const 1036) (i32.const 0))
    (i32.store8 (i32.const 2048) (i32.const 1))
    (i32.store (i32.const 2052) (i32.const 65536)) (i32.store (i32.const 2056) (i32.const 60000))
    (i32.store8 (i32.const 2064) (i32.const 9))
    (i32.const 32))
)
