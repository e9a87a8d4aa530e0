;; Breaks the contract in the way that the first byte of the payload says. One message in a call, one call of an instance.
(module
  ;; COMMON
  ;;                           0    1        6    7        10
  (data (i32.const 1024) "k" "{a:1}" "5" "[\0a]" "[1]")
  (func (export "tidegate:plugin/conversion@0.1.0-draft#configure") (param i32 i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))   ;; ok
    (i32.store16 (i32.const 20) (i32.const 9))  ;; operations: telemetry, rpc-request
    (i32.const 16))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#encode") (param i32 i32) (result i32)
    (i32.store (i32.const 48) (i32.const 0))
    (i32.store (i32.const 52) (i32.const 0))
    (i32.const 48))
  (func (export "tidegate:plugin/conversion@0.1.0-draft#decode") (param $messages i32) (param $count i32) (result i32)
    (local $kind i32)
    (local.set $kind (i32.load8_u (i32.load offset=28 (local.get $messages))))
    ;; one event at 2048: telemetry, one sample at 2200, one entry at 2304: "k" is boolean false
    (i32.store (i32.const 32) (i32.const 1100)) (i32.store (i32.const 36) (i32.const 1))
    (i32.store (i32.const 1100) (i32.const 2048)) (i32.store (i32.const 1104) (i32.const 1))
    (i32.store (i32.const 2072) (i32.const 2200)) (i32.store (i32.const 2076) (i32.const 1))
    (i32.store (i32.const 2216) (i32.const 2304)) (i32.store (i32.const 2220) (i32.const 1))
    (i32.store (i32.const 2304) (i32.const 1024)) (i32.store (i32.const 2308) (i32.const 1))
    (if (i32.eq (local.get $kind) (i32.const 0x6e)) ;; n
      (then (i32.store8 (i32.const 2312) (i32.const 2)) (f64.store (i32.const 2320) (f64.const nan))))
    (if (i32.eq (local.get $kind) (i32.const 0x69)) ;; i
      (then (i32.store8 (i32.const 2312) (i32.const 2)) (f64.store (i32.const 2320) (f64.const -inf))))
    (if (i32.eq (local.get $kind) (i32.const 0x74)) ;; t
      (then (i32.store8 (i32.const 2312) (i32.const 4)) (i32.store (i32.const 2320) (i32.const 1025)) (i32.store (i32.const 2324) (i32.const 5))))
    (if (i32.eq (local.get $kind) (i32.const 0x35)) ;; 5
      (then (i32.store8 (i32.const 2312) (i32.const 4)) (i32.store (i32.const 2320) (i32.const 1030)) (i32.store (i32.const 2324) (i32.const 1))))
    (if (i32.eq (local.get $kind) (i32.const 0x6c)) ;; l
      (then (i32.store8 (i32.const 2312) (i32.const 4)) (i32.store (i32.const 2320) (i32.const 1031)) (i32.store (i32.const 2324) (i32.const 3))))
    (if (i32.eq (local.get $kind) (i32.const 0x67)) ;; g
      (then (i32.store8 (i32.const 2312) (i32.const 4)) (i32.store (i32.const 2320) (i32.const 1034)) (i32.store (i32.const 2324) (i32.const 3))))
    (if (i32.eq (local.get $kind) (i32.const 0x65)) ;; e
      (then (i32.store (i32.const 2308) (i32.const 0))))
    (if (i32.eq (local.get $kind) (i32.const 0x6b)) ;; k
      (then (i32.store (i32.const 2304) (i32.const 50000)) (i32.store (i32.const 2308) (i32.const 70000))))
    (if (i32.eq (local.get $kind) (i32.const 0x63)) ;; c
      (then (i32.store (i32.const 1108) (i32.const 2400)) (i32.store (i32.const 1112) (i32.const 1))
        (i32.store8 (i32.const 2400) (i32.const 1)) (i32.store (i32.const 2404) (i32.const 1024)) (i32.store (i32.const 2408) (i32.const 1))))
    (if (i32.eq (local.get $kind) (i32.const 0x70)) ;; p
      (then (i32.store8 (i32.const 2064) (i32.const 4)) (i32.store (i32.const 2072) (i32.const 7))
        (i32.store (i32.const 2076) (i32.const 1024)) (i32.store (i32.const 2080) (i32.const 1))
        (i32.store (i32.const 2084) (i32.const 1025)) (i32.store (i32.const 2088) (i32.const 5))
        (i32.store (i32.const 2092) (i32.const 0)) (i32.store (i32.const 2096) (i32.const 0))))
    (if (i32.eq (local.get $kind) (i32.const 0x71)) ;; q
      (then (i32.store8 (i32.const 2064) (i32.const 4)) (i32.store (i32.const 2072) (i32.const 7))
        (i32.store (i32.const 2076) (i32.const 1024)) (i32.store (i32.const 2080) (i32.const 1))
        (i32.store (i32.const 2084) (i32.const 1030)) (i32.store (i32.const 2088) (i32.const 1))
        (i32.store (i32.const 2092) (i32.const 0)) (i32.store (i32.const 2096) (i32.const 0))))
    (i32.const 32))
)
