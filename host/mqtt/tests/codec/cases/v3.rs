//! MQTT 3.1.1, and 3.1 where it differs. Clauses are those of MQTT 3.1.1.

use super::Expect::{Answer, AnswerAndClose, Incomplete, Packet, Refused};
use super::{Case, FIRST, V31, V311};

macro_rules! cases {
    ($($stage:ident $bytes:literal $clause:literal $name:literal => $expect:expr;)*) => {
        pub(crate) const CASES: &[Case] = &[
            $(Case { name: $name, stage: $stage, bytes: $bytes, clause: $clause, expect: $expect },)*
        ];
    };
}

cases! {
    // Fixed header
    V311 "" "2.2" "nothing" => Incomplete;
    V311 "c0" "2.2" "first byte only" => Incomplete;
    V311 "30 80" "2.2.3" "length not complete" => Incomplete;
    V311 "30 04 00 01 'a'" "2.2.3" "one byte short" => Incomplete;
    V311 "30 80 80 04" "spec 2" "packet at the limit" => Incomplete;
    V311 "30 81 80 04" "spec 2" "packet over the limit, seen by its header" => Refused(0x95);
    V311 "30 ff ff ff 7f" "spec 2" "largest length there is" => Refused(0x95);
    V311 "c0 80 00" "2.2.3" "overlong remaining length" => Refused(0x81);
    V311 "30 ff ff ff ff 01" "2.2.3" "remaining length of five bytes" => Refused(0x81);
    V311 "00 00" "2.2.1" "packet type 0" => Refused(0x81);
    V311 "f0 00" "2.2.1" "packet type 15" => Refused(0x81);
    V311 "20 02 00 00" "3.2" "CONNACK from a client" => Refused(0x82);
    V311 "90 03 00 01 00" "3.9" "SUBACK from a client" => Refused(0x82);
    V311 "b0 02 00 01" "3.11" "UNSUBACK from a client" => Refused(0x82);
    V311 "d0 00" "3.13" "PINGRESP from a client" => Refused(0x82);
    FIRST "c0 00" "MQTT-3.1.0-1" "PINGREQ before CONNECT" => Refused(0x82);
    FIRST "30 .. 00 01 'a'" "MQTT-3.1.0-1" "PUBLISH before CONNECT" => Refused(0x82);
    V311 "10 .. 00 04 'MQTT' 04 02 00 00 00 00" "MQTT-3.1.0-2" "second CONNECT" => Refused(0x82);

    // CONNECT
    FIRST "10 .. 00 04 'MQTT' 04 02 00 3c 00 02 'ab'" "3.1" "smallest useful CONNECT"
        => Packet("CONNECT 3.1.1 ab clean keep=60");
    FIRST "10 .. 00 04 'MQTT' 04 f6 ff ff 00 02 'ab' 00 03 'w/t' 00 02 'hi' 00 04 'user' 00 03 'pwd'" "3.1.3"
        "everything at once" => Packet("CONNECT 3.1.1 ab clean keep=65535 will=w/t:2:hi will-retain user=user password=pwd");
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 00" "MQTT-3.1.3-6" "empty client id, clean session"
        => Packet("CONNECT 3.1.1 (empty) clean keep=0");
    FIRST "10 .. 00 04 'MQTT' 04 00 00 00 00 00" "MQTT-3.1.3-8" "empty client id, session kept"
        => AnswerAndClose("20 02 00 02");
    FIRST "10 .. 00 04 'MQTT' 04 c2 00 00 00 01 'a' 00 00 00 00" "3.1.3.4" "empty user name and password are there"
        => Packet("CONNECT 3.1.1 a clean keep=0 user= password=(empty)");
    FIRST "10 .. 00 04 'MQTT' 04 c2 00 00 00 01 'a' 00 01 'u' 00 03 ff 00 fe" "3.1.3.5" "binary password"
        => Packet("CONNECT 3.1.1 a clean keep=0 user=u password=[ff 00 fe]");
    FIRST "10 .. 00 04 'MQTT' 04 03 00 00 00 01 'a'" "MQTT-3.1.2-3" "reserved connect flag" => Refused(0x81);
    FIRST "11 .. 00 04 'MQTT' 04 02 00 00 00 01 'a'" "MQTT-2.2.2-2" "reserved bits of the fixed header" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTX' 04 02 00 00 00 01 'a'" "MQTT-3.1.2-1" "another protocol's name" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 06 02 00 00 00 01 'a'" "MQTT-3.1.2-2" "level 6" => Refused(0x84);
    FIRST "10 .. 00 04 'MQTT' 03 02 00 00 00 01 'a'" "MQTT-3.1.2-2" "level 3 under the name of 3.1.1"
        => AnswerAndClose("20 02 00 01");
    FIRST "10 .. 00 04 'MQTT' 84 02 00 00 00 01 'a'" "MQTT-3.1.2-2" "level of a bridge" => AnswerAndClose("20 02 00 01");
    FIRST "10 .. 00 06 'MQIsdp' 04 02 00 00 00 01 'a'" "MQTT-3.1.2-2" "level 4 under the name of 3.1"
        => AnswerAndClose("20 02 00 01");
    FIRST "10 .. 00 06 'MQIsdp' 03 02 00 00 00 01 'a'" "spec 2" "MQTT 3.1" => Packet("CONNECT 3.1 a clean keep=0");
    FIRST "10 .. 00 06 'MQIsdp' 03 c2 00 00 00 01 'a'" "3.1: 3.1" "3.1 with flags for strings that are missing"
        => Packet("CONNECT 3.1 a clean keep=0");
    FIRST "10 .. 00 06 'MQIsdp' 03 02 00 00 00 17 'x'*23" "spec 2" "3.1, longest client id"
        => Packet("CONNECT 3.1 xxxxxxxxxxxxxxxxxxxxxxx clean keep=0");
    FIRST "10 .. 00 06 'MQIsdp' 03 02 00 00 00 18 'x'*24" "spec 2" "3.1, client id too long" => AnswerAndClose("20 02 00 02");
    FIRST "10 .. 00 06 'MQIsdp' 03 02 00 00 00 00" "spec 2" "3.1, empty client id" => AnswerAndClose("20 02 00 02");
    FIRST "10 .. 00 04 'MQTT' 04 42 00 00 00 01 'a' 00 01 'p'" "MQTT-3.1.2-22" "password without user name" => Refused(0x81);
    FIRST "10 .. 00 06 'MQIsdp' 03 42 00 00 00 01 'a' 00 01 'p'" "3.1: 3.1" "3.1, password without user name" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 1e 00 00 00 01 'a' 00 01 't' 00 00" "MQTT-3.1.2-14" "will QoS 3" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 0a 00 00 00 01 'a'" "MQTT-3.1.2-13" "will QoS without will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 22 00 00 00 01 'a'" "MQTT-3.1.2-15" "will retain without will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 06 00 00 00 01 'a' 00 03 't/+' 00 00" "MQTT-4.7.1-1" "wildcard in the will topic"
        => Refused(0x90);
    FIRST "10 .. 00 04 'MQTT' 04 06 00 00 00 01 'a' 00 00 00 00" "MQTT-4.7.3-1" "empty will topic" => Refused(0x90);
    FIRST "10 .. 00 04 'MQTT' 04 06 00 00 00 01 'a' 00 02 't' 00 00 00" "MQTT-1.5.3-2" "U+0000 in the will topic"
        => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 02 c3 28" "MQTT-1.5.3-1" "client id is not UTF-8" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 03 ed a0 80" "MQTT-1.5.3-1" "surrogate in the client id" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 03 61 00 62" "MQTT-1.5.3-2" "U+0000 in the client id" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 82 00 00 00 01 'a' 00 01 ff" "MQTT-3.1.3-11" "user name is not UTF-8" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 05 'a'" "1.5.3" "client id points past the end" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00" "3.1.2.10" "ends in the keep alive" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 c2 00 00 00 01 'a' 00 01 'u'" "3.1.3" "password announced and missing" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 04 02 00 00 00 01 'a' 00" "3.1.3" "bytes after the last field" => Refused(0x81);
    FIRST "10 00" "3.1" "empty CONNECT" => Refused(0x81);

    // PUBLISH
    V311 "30 .. 00 03 'a/b' 'hello'" "3.3" "QoS 0" => Packet("PUBLISH a/b qos=0 hello");
    V311 "30 .. 00 03 'a/b'" "3.3.3" "empty payload" => Packet("PUBLISH a/b qos=0 (empty)");
    V311 "33 .. 00 01 '/' 00 0a ff 00" "3.3" "QoS 1, retained, binary" => Packet("PUBLISH / qos=1 retain id=10 [ff 00]");
    V311 "3a .. 00 01 'a' ff ff 'x'" "3.3.1.1" "repeated" => Packet("PUBLISH a qos=1 dup id=65535 x");
    V311 "34 .. 00 01 'a' 00 0a 'x'" "3.3.1.2" "QoS 2" => Packet("PUBLISH a qos=2 id=10 x");
    V311 "30 .. 00 04 '$SYS' 'x'" "4.7.2" "topic that starts with $" => Packet("PUBLISH $SYS qos=0 x");
    V311 "36 .. 00 01 'a' 00 0a 'x'" "MQTT-3.3.1-4" "QoS 3" => Refused(0x81);
    V311 "38 .. 00 01 'a' 'x'" "MQTT-3.3.1-2" "DUP on QoS 0" => Refused(0x81);
    V311 "30 .. 00 00 'x'" "MQTT-4.7.3-1" "empty topic" => Refused(0x82);
    V311 "30 .. 00 03 'a/+' 'x'" "MQTT-3.3.2-2" "+ in the topic" => Refused(0x90);
    V311 "30 .. 00 02 'a#' 'x'" "MQTT-3.3.2-2" "# in the topic" => Refused(0x90);
    V311 "30 .. 00 03 61 00 62" "MQTT-1.5.3-2" "U+0000 in the topic" => Refused(0x81);
    V311 "30 .. 00 02 c0 80" "MQTT-1.5.3-1" "U+0000 in disguise" => Refused(0x81);
    V311 "30 .. 00 02 'a' ff" "MQTT-3.3.2-1" "topic is not UTF-8" => Refused(0x81);
    V311 "32 .. 00 01 'a' 00 00" "MQTT-2.3.1-1" "packet id 0" => Refused(0x82);
    V311 "32 .. 00 01 'a' 00" "3.3.2.2" "ends in the packet id" => Refused(0x81);
    V311 "30 .. 00 05 'a'" "1.5.3" "topic points past the end" => Refused(0x81);
    V311 "30 .. 00" "1.5.3" "ends in the length of the topic" => Refused(0x81);
    V311 "30 00" "3.3" "empty PUBLISH" => Refused(0x81);

    // PUBACK, PUBREC, PUBREL, PUBCOMP
    V311 "40 02 12 34" "3.4" "PUBACK" => Packet("PUBACK id=4660 00");
    V311 "40 02 00 00" "MQTT-2.3.1-1" "PUBACK for packet id 0" => Refused(0x82);
    V311 "40 03 00 01 00" "3.4" "PUBACK with a reason code" => Refused(0x81);
    V311 "40 01 00" "3.4" "PUBACK without packet id" => Refused(0x81);
    V311 "42 02 00 01" "MQTT-2.2.2-2" "PUBACK with flags" => Refused(0x81);
    V311 "50 02 00 01" "spec 4.2" "PUBREC: there is no QoS 2" => Answer("62 02 00 01");
    V311 "62 02 00 01" "spec 4.2" "PUBREL: there is no QoS 2" => Answer("70 02 00 01");
    V311 "70 02 00 01" "3.7" "PUBCOMP" => Packet("PUBCOMP id=1 00");
    V311 "60 02 00 01" "MQTT-3.6.1-1" "PUBREL without its flag" => Refused(0x81);
    V311 "6a 02 00 01" "MQTT-3.6.1-1" "PUBREL with DUP" => Refused(0x81);
    V31 "6a 02 00 01" "3.1: 3.6" "PUBREL with DUP in 3.1" => Packet("PUBREL id=1 00");

    // SUBSCRIBE, UNSUBSCRIBE
    V311 "82 .. 00 0a 00 03 'a/+' 01 00 01 '#' 02" "3.8" "two filters" => Packet("SUBSCRIBE id=10 a/+:1 #:2");
    V31 "8a .. 00 0a 00 01 'a' fd" "3.1: 3.8" "SUBSCRIBE with DUP and unused bits in 3.1"
        => Packet("SUBSCRIBE id=10 a:1");
    V311 "80 .. 00 0a 00 01 'a' 00" "MQTT-3.8.1-1" "SUBSCRIBE without its flag" => Refused(0x81);
    V311 "82 .. 00 00 00 01 'a' 00" "MQTT-2.3.1-1" "SUBSCRIBE with packet id 0" => Refused(0x82);
    V311 "82 .. 00 0a" "MQTT-3.8.3-3" "SUBSCRIBE without filters" => Refused(0x82);
    V311 "82 .. 00 0a 00 01 'a' 03" "MQTT-3-8.3-4" "SUBSCRIBE with QoS 3" => Refused(0x82);
    V311 "82 .. 00 0a 00 01 'a' 04" "MQTT-3-8.3-4" "SUBSCRIBE with reserved bits" => Refused(0x81);
    V311 "82 .. 00 0a 00 01 'a'" "3.8.3" "SUBSCRIBE without QoS" => Refused(0x81);
    V311 "82 .. 00 0a 00 05 'a' 00" "1.5.3" "filter points past the end" => Refused(0x81);
    V311 "82 .. 00 0a 00 02 c3 28 00" "MQTT-3.8.3-1" "filter is not UTF-8" => Refused(0x81);
    V311 "82 .. 00 0a 00 03 61 00 62 00" "MQTT-4.7.3-2" "U+0000 in a filter" => Refused(0x81);
    V311 "82 .. 00 0a 00 05 'a/#/b' 01 00 04 'v2/a' 01" "spec 5.1" "filter a/#/b spoils nothing" => Answer("90 04 00 0a 80 01");
    V311 "82 .. 00 0a 00 02 'a+' 01" "spec 5.1" "filter a+" => Answer("90 03 00 0a 80");
    V311 "82 .. 00 0a 00 00 01" "spec 5.1" "empty filter" => Answer("90 03 00 0a 80");
    V311 "82 .. 00 0a 00 04 'v2/a' 02" "spec 5.1" "QoS 2 is granted as QoS 1" => Answer("90 03 00 0a 01");
    V311 "a2 .. 00 0a 00 03 'a/b' 00 01 '+'" "3.10" "UNSUBSCRIBE" => Packet("UNSUBSCRIBE id=10 a/b +");
    V311 "a2 .. 00 0a 00 01 'x'" "spec 5.2" "UNSUBSCRIBE from anything" => Answer("b0 02 00 0a");
    V311 "a0 .. 00 0a 00 01 'a'" "MQTT-3.10.1-1" "UNSUBSCRIBE without its flag" => Refused(0x81);
    V311 "a2 .. 00 0a" "MQTT-3.10.3-2" "UNSUBSCRIBE without filters" => Refused(0x82);
    V311 "a2 .. 00 00 00 01 'a'" "MQTT-2.3.1-1" "UNSUBSCRIBE with packet id 0" => Refused(0x82);
    V311 "a2 .. 00 0a 00 05 'a'" "1.5.3" "UNSUBSCRIBE, filter points past the end" => Refused(0x81);
    V311 "a2 .. 00 0a 00 02 c3 28" "MQTT-3.10.3-1" "UNSUBSCRIBE, filter is not UTF-8" => Refused(0x81);

    // PINGREQ, DISCONNECT
    V311 "c0 00" "MQTT-3.12.4-1" "PINGREQ" => Answer("d0 00");
    V311 "c1 00" "MQTT-2.2.2-2" "PINGREQ with flags" => Refused(0x81);
    V311 "c0 01 00" "3.12" "PINGREQ with a body" => Refused(0x81);
    V311 "e0 00" "3.14" "DISCONNECT" => Packet("DISCONNECT 00");
    V311 "e0 01 00" "3.14" "DISCONNECT with a reason code" => Refused(0x81);
    V311 "e1 00" "MQTT-3.14.1-1" "DISCONNECT with flags" => Refused(0x81);
}
