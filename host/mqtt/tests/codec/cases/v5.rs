//! MQTT 5.0. Clauses are those of MQTT 5.0.

use super::Expect::{Answer, AnswerAndClose, Incomplete, Packet, Refused};
use super::{Case, FIRST, V5};

macro_rules! cases {
    ($($stage:ident $bytes:literal $clause:literal $name:literal => $expect:expr;)*) => {
        pub(crate) const CASES: &[Case] = &[
            $(Case { name: $name, stage: $stage, bytes: $bytes, clause: $clause, expect: $expect },)*
        ];
    };
}

cases! {
    // Fixed header
    V5 "30 81 80 04" "spec 2" "packet over the limit, seen by its header" => Refused(0x95);
    V5 "30 80 80 04" "spec 2" "packet at the limit" => Incomplete;
    V5 "c0 80 00" "MQTT-1.5.5-1" "overlong remaining length" => Refused(0x81);
    V5 "c0 ff ff ff ff" "2.1.4" "remaining length of more than four bytes" => Refused(0x81);
    V5 "00 00" "2.1.2" "packet type 0" => Refused(0x81);
    V5 "20 03 00 00 00" "3.2" "CONNACK from a client" => Refused(0x82);
    V5 "10 .. 00 04 'MQTT' 05 02 00 00 00 00 00" "MQTT-3.1.0-2" "second CONNECT" => Refused(0x82);
    FIRST "f0 00" "MQTT-3.1.0-1" "AUTH before CONNECT" => Refused(0x82);

    // CONNECT
    FIRST "10 .. 00 04 'MQTT' 05 02 00 3c 00 00 02 'ab'" "3.1" "smallest useful CONNECT"
        => Packet("CONNECT 5.0 ab clean keep=60");
    FIRST "10 .. 00 04 'MQTT' 05 00 00 00 00 00 00" "3.1.3.1" "empty client id, clean start 0"
        => Packet("CONNECT 5.0 (empty) keep=0");
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 { 11 00 00 00 0a 21 00 14 27 00 00 01 00 22 00 05 19 01 17 00 15 00 01 'm' \
           16 00 02 ff 00 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'w' } 00 01 'a'" "3.1.2.11" "every property"
        => Packet("CONNECT 5.0 a clean keep=0 expiry=10 receive=20 max=256 aliases=5 response-information \
                   no-problem-information auth=m auth-data=[ff 00] k=v k=w");
    FIRST "10 .. 00 04 'MQTT' 05 0e 00 00 00 00 01 'a' { 18 00 00 00 07 01 01 02 00 00 00 3c 03 00 04 'text' \
           08 00 03 'r/t' 09 00 02 01 02 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'v' } 00 01 't' 00 01 'p'" "3.1.3.2"
        "every will property"
        => Packet("CONNECT 5.0 a clean keep=0 will=t:1:p will-text will-delay=7 will-expiry=60 will-type=text \
                   will-response=r/t will-correlation=[01 02] k=v k=v");
    FIRST "10 .. 00 04 'MQTT' 05 42 00 00 00 00 01 'a' 00 01 'p'" "3.1.2.9" "password without user name"
        => Packet("CONNECT 5.0 a clean keep=0 password=p");
    FIRST "10 .. 00 04 'MQTT' 05 c2 00 00 00 00 01 'a' 00 00 00 00" "3.1.3.5" "empty user name and password are there"
        => Packet("CONNECT 5.0 a clean keep=0 user= password=(empty)");
    FIRST "10 .. 00 04 'MQTT' 05 03 00 00 00 00 01 'a'" "MQTT-3.1.2-3" "reserved connect flag" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 1e 00 00 00 00 01 'a' 00 00 01 't' 00 00" "MQTT-3.1.2-12" "will QoS 3" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 12 00 00 00 00 01 'a'" "MQTT-3.1.2-11" "will QoS without will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 22 00 00 00 00 01 'a'" "MQTT-3.1.2-13" "will retain without will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 06 00 00 00 00 01 'a' 00 00 01 '#' 00 00" "MQTT-4.7.1-1" "wildcard in the will topic"
        => Refused(0x90);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00" "3.1.2.11.1" "no property length" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 80 00 00 01 'a'" "MQTT-1.5.5-1" "overlong property length" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 09 00 01 'a'" "3.1.2.11.1" "property length past the end" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 04 11 00 00 00 0a 00 01 'a'" "2.2.2.1" "property overruns the length" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 0a 11 00 00 00 0a 11 00 00 00 0a 00 01 'a'" "3.1.2.11.2" "session expiry twice"
        => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 03 21 00 00 00 01 'a'" "3.1.2.11.3" "receive maximum 0" => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 05 27 00 00 00 00 00 01 'a'" "3.1.2.11.4" "maximum packet size 0" => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 02 17 02 00 01 'a'" "3.1.2.11.7" "request problem information 2" => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 02 19 02 00 01 'a'" "3.1.2.11.6" "request response information 2" => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 04 16 00 01 'x' 00 01 'a'" "3.1.2.11.10" "authentication data without method"
        => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 03 23 00 01 00 01 'a'" "2.2.2.2" "topic alias in CONNECT" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 02 24 01 00 01 'a'" "2.2.2.2" "maximum QoS in CONNECT" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 02 04 01 00 01 'a'" "2.2.2.2" "a property that does not exist" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 02 90 26 00 01 'a'" "2.2.2.2" "a property beyond the table" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 03 a6 00 00 00 01 'a'" "MQTT-1.5.5-1" "overlong property identifier"
        => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 05 18 00 00 00 01 00 01 'a'" "2.2.2.2" "will delay outside of the will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 06 26 00 01 'k' 00 05 00 01 'a'" "1.5.7" "user property points past the end"
        => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 06 00 00 00 00 01 'a' 02 01 02 00 01 't' 00 00" "3.1.3.2.3" "payload format 2 in the will"
        => Refused(0x82);
    FIRST "10 .. 00 04 'MQTT' 05 06 00 00 00 00 01 'a' 05 11 00 00 00 01 00 01 't' 00 00" "2.2.2.2"
        "session expiry in the will" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 'a' 00" "3.1.3" "bytes after the last field" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 00 00 03 61 00 62" "MQTT-1.5.4-2" "U+0000 in the client id" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 00 00 03 ed bf bf" "MQTT-1.5.4-1" "surrogate in the client id" => Refused(0x81);
    FIRST "10 .. 00 04 'MQTT' 05 02 00 00 00 00 09 'a'" "1.5.4" "client id points past the end" => Refused(0x81);

    // PUBLISH
    V5 "30 .. 00 03 'a/b' 00 'hello'" "3.3" "QoS 0" => Packet("PUBLISH a/b qos=0 hello");
    V5 "3b .. 00 01 'a' 00 0a 00" "3.3" "QoS 1, retained, repeated, empty"
        => Packet("PUBLISH a qos=1 dup retain id=10 (empty)");
    V5 "34 .. 00 01 'a' 00 0a 00" "3.3.1.2" "QoS 2" => Packet("PUBLISH a qos=2 id=10 (empty)");
    V5 "32 .. 00 01 'a' 00 0a { 01 01 02 00 00 00 3c 23 00 10 08 00 03 'r/t' 09 00 02 01 02 26 00 01 'k' 00 01 'v' \
        26 00 01 'k' 00 01 'v' 03 00 04 'text' } 'x'" "3.3.2.3" "every property"
        => Packet("PUBLISH a qos=1 id=10 PayloadFormatIndicator=1 MessageExpiryInterval=60 ContentType=text \
                   ResponseTopic=r/t CorrelationData=[01 02] TopicAlias=16 k=v k=v x");
    V5 "30 .. 00 00 03 23 00 01 'x'" "3.3.2.3.4" "topic alias alone" => Packet("PUBLISH (empty) qos=0 TopicAlias=1 x");
    V5 "30 .. 00 00 00 'x'" "3.3.2.1" "no topic and no alias" => Refused(0x82);
    V5 "30 .. 00 01 'a' 03 23 00 00 'x'" "MQTT-3.3.2-8" "topic alias 0" => Refused(0x94);
    V5 "30 .. 00 01 'a' 06 23 00 01 23 00 02 'x'" "3.3.2.3.4" "two topic aliases" => Refused(0x82);
    V5 "36 .. 00 01 'a' 00 0a 00" "MQTT-3.3.1-4" "QoS 3" => Refused(0x81);
    V5 "38 .. 00 01 'a' 00" "MQTT-3.3.1-2" "DUP on QoS 0" => Refused(0x81);
    V5 "30 .. 00 03 'a/+' 00" "MQTT-3.3.2-2" "+ in the topic" => Refused(0x90);
    V5 "30 .. 00 03 'a/#' 00" "MQTT-3.3.2-2" "# in the topic" => Refused(0x90);
    V5 "30 .. 00 01 00 00" "MQTT-1.5.4-2" "U+0000 in the topic" => Refused(0x81);
    V5 "30 .. 00 02 c3 28 00" "MQTT-3.3.2-1" "topic is not UTF-8" => Refused(0x81);
    V5 "32 .. 00 01 'a' 00 00 00" "MQTT-2.2.1-3" "packet id 0" => Refused(0x82);
    V5 "30 .. 00 01 'a'" "3.3.2.3.1" "no property length" => Refused(0x81);
    V5 "30 .. 00 01 'a' 05 01 00" "3.3.2.3.1" "property length past the end" => Refused(0x81);
    V5 "30 .. 00 01 'a' 02 01 02" "3.3.2.3.2" "payload format 2" => Refused(0x82);
    V5 "30 .. 00 01 'a' 02 0b 01" "MQTT-3.3.4-6" "subscription identifier from a client" => Refused(0x82);
    V5 "30 .. 00 01 'a' 06 08 00 03 'r/+'" "MQTT-3.3.2-14" "wildcard in the response topic" => Refused(0x82);
    V5 "30 .. 00 01 'a' 05 11 00 00 00 01" "2.2.2.2" "session expiry in PUBLISH" => Refused(0x81);
    V5 "30 .. 00 01 'a' 03 02 00 00" "3.3.2.3.3" "message expiry cut short" => Refused(0x81);
    V5 "30 .. 00 01 'a' 05 03 00 02 c3 28" "3.3.2.3.9" "content type is not UTF-8" => Refused(0x81);
    V5 "30 .. 00 09 'a' 00" "1.5.4" "topic points past the end" => Refused(0x81);
    V5 "34 .. 00 01 'a' 00 0a 00" "MQTT-3.2.2-11" "QoS 2 is closed" => AnswerAndClose(
        "e0 .. 9b { 1f 00 17 'QoS' 20 '2:' 20 'the' 20 'maximum' 20 'is' 20 '1' }");

    // PUBACK, PUBREC, PUBREL, PUBCOMP
    V5 "40 02 00 0a" "3.4.2.1" "PUBACK, shortest form" => Packet("PUBACK id=10 00");
    V5 "40 03 00 0a 87" "3.4.2.1" "PUBACK with reason code" => Packet("PUBACK id=10 87");
    V5 "40 .. 00 0a 10 0b 1f 00 01 'r' 26 00 01 'k' 00 01 'v'" "3.4.2.2" "PUBACK with every property"
        => Packet("PUBACK id=10 10 ReasonString=r k=v");
    V5 "40 02 00 00" "MQTT-2.2.1-3" "PUBACK for packet id 0" => Refused(0x82);
    V5 "40 03 00 0a 01" "3.4.2.1" "PUBACK with a reason code of another packet" => Refused(0x81);
    V5 "40 .. 00 0a 00 00 00" "3.4" "PUBACK with bytes after the last field" => Refused(0x81);
    V5 "40 .. 00 0a 00 08 1f 00 01 'r' 1f 00 01 'r'" "3.4.2.2.2" "PUBACK with two reason strings" => Refused(0x82);
    V5 "50 02 00 0a" "spec 4.2" "PUBREC: there is no QoS 2" => Answer("62 03 00 0a 92");
    V5 "62 02 00 0a" "spec 4.2" "PUBREL: there is no QoS 2" => Answer("70 03 00 0a 92");
    V5 "70 .. 00 0a 92 04 1f 00 01 'r'" "3.7.2.2" "PUBCOMP" => Packet("PUBCOMP id=10 92 ReasonString=r");
    V5 "50 03 00 0a 92" "3.5.2.1" "PUBREC with a reason code of another packet" => Refused(0x81);
    V5 "62 03 00 0a 10" "3.6.2.1" "PUBREL with a reason code of another packet" => Refused(0x81);
    V5 "60 02 00 0a" "MQTT-3.6.1-1" "PUBREL without its flag" => Refused(0x81);

    // SUBSCRIBE, UNSUBSCRIBE
    V5 "82 .. 00 0a 00 00 03 'a/+' 2d 00 01 '#' 02" "3.8" "two filters with options" => Packet("SUBSCRIBE id=10 a/+:1 #:2");
    V5 "82 .. 00 0a 0b 0b ff ff ff 7f 26 00 00 00 01 'v' 00 01 'a' 00" "3.8.2.1" "every property"
        => Packet("SUBSCRIBE id=10 identifier=268435455 a:0");
    V5 "82 .. 00 0a 00 00 01 'a' 03" "3.8.3.1" "QoS 3" => Refused(0x82);
    V5 "82 .. 00 0a 00 00 01 'a' 40" "MQTT-3.8.3-5" "reserved bits" => Refused(0x81);
    V5 "82 .. 00 0a 00 00 01 'a' 30" "3.8.3.1" "retain handling 3" => Refused(0x82);
    V5 "82 .. 00 0a 00 00 0a '$share/g/a' 04" "MQTT-3.8.3-4" "no local on a shared subscription" => Refused(0x82);
    V5 "82 .. 00 0a 02 0b 00 00 01 'a' 00" "3.8.2.1.2" "subscription identifier 0" => Refused(0x82);
    V5 "82 .. 00 0a 04 0b 01 0b 02 00 01 'a' 00" "3.8.2.1.2" "two subscription identifiers" => Refused(0x82);
    V5 "82 .. 00 0a 03 0b 81 00 00 01 'a' 00" "MQTT-1.5.5-1" "overlong subscription identifier" => Refused(0x81);
    V5 "82 .. 00 0a 04 1f 00 01 'r' 00 01 'a' 00" "2.2.2.2" "reason string in SUBSCRIBE" => Refused(0x81);
    V5 "82 .. 00 0a 00" "MQTT-3.8.3-2" "no filters" => Refused(0x82);
    V5 "82 .. 00 0a" "3.8.2.1.1" "no property length" => Refused(0x81);
    V5 "80 .. 00 0a 00 00 01 'a' 00" "MQTT-3.8.1-1" "SUBSCRIBE without its flag" => Refused(0x81);
    V5 "82 .. 00 0a 00 00 05 'a/#/b' 01 00 02 'a+' 01 00 00 01 00 04 'v2/a' 01" "spec 5.1" "syntactically invalid filters"
        => Answer("90 07 00 0a 00 8f 8f 8f 01");
    V5 "82 .. 00 0a 00 00 0a '$share/g/a' 00 00 0e 'v1/gateway/rpc' 00" "spec 5.1" "shared, and not for a device"
        => Answer("90 05 00 0a 00 9e 87");
    V5 "a2 .. 00 0a 07 26 00 01 'k' 00 01 'v' 00 03 'a/b' 00 01 '+'" "3.10" "UNSUBSCRIBE"
        => Packet("UNSUBSCRIBE id=10 a/b +");
    V5 "a2 .. 00 0a 00 00 04 'v2/a' 00 01 'x'" "spec 5.2" "UNSUBSCRIBE without subscription"
        => Answer("b0 05 00 0a 00 11 8f");
    V5 "a2 .. 00 0a 00" "MQTT-3.10.3-2" "UNSUBSCRIBE without filters" => Refused(0x82);
    V5 "a2 .. 00 0a 02 0b 01 00 01 'a'" "2.2.2.2" "subscription identifier in UNSUBSCRIBE" => Refused(0x81);
    V5 "a2 .. 00 0a 00 00 05 'a'" "1.5.4" "UNSUBSCRIBE, filter points past the end" => Refused(0x81);
    V5 "a2 .. 00 0a 00 00 03 61 00 62" "MQTT-1.5.4-2" "UNSUBSCRIBE, U+0000 in a filter" => Refused(0x81);

    // PINGREQ, DISCONNECT, AUTH
    V5 "c0 00" "MQTT-3.12.4-1" "PINGREQ" => Answer("d0 00");
    V5 "c0 01 00" "3.12" "PINGREQ with a body" => Refused(0x81);
    V5 "e0 00" "3.14.2.1" "DISCONNECT, shortest form" => Packet("DISCONNECT 00");
    V5 "e0 01 04" "3.14.2.1" "DISCONNECT with reason code" => Packet("DISCONNECT 04");
    V5 "e0 02 00 00" "3.14.2.2" "DISCONNECT with an empty property list" => Packet("DISCONNECT 00");
    V5 "e0 .. 00 10 11 00 00 00 0a 1f 00 01 'r' 26 00 01 'k' 00 01 'v'" "3.14.2.2" "DISCONNECT with every property"
        => Packet("DISCONNECT 00 SessionExpiryInterval=10 ReasonString=r k=v");
    V5 "e0 01 8e" "3.14.2.1" "DISCONNECT with a server's reason code" => Refused(0x81);
    V5 "e0 .. 00 04 1c 00 01 's'" "3.14.2.2.5" "server reference from a client" => Refused(0x82);
    V5 "e0 .. 00 00 00" "3.14" "DISCONNECT with bytes after the last field" => Refused(0x81);
    V5 "e0 .. 00 05 1f" "3.14.2.2.1" "DISCONNECT, property length past the end" => Refused(0x81);
    V5 "e1 00" "MQTT-3.14.1-1" "DISCONNECT with flags" => Refused(0x81);
    V5 "f0 .. 18 0a 15 00 01 'm' 16 00 03 'a' 00 ff" "3.15" "AUTH"
        => Packet("AUTH 18 AuthenticationMethod=m AuthenticationData=[61 00 ff]");
    V5 "f0 00" "3.15.2.1" "AUTH, shortest form" => Packet("AUTH 00");
    V5 "f0 02 18 00" "3.15.2.2.2" "AUTH without method" => Refused(0x82);
    V5 "f0 01 01" "3.15.2.1" "AUTH with a reason code of another packet" => Refused(0x81);
    V5 "f1 00" "MQTT-3.15.1-1" "AUTH with flags" => Refused(0x81);
}
