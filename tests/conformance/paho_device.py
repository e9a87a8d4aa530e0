"""A device with paho-mqtt: PORT TOKEN VERSION (3 for 3.1, 4 for 3.1.1, 5 for 5.0)."""

import json
import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

TELEMETRY = "v1/devices/me/telemetry"
PATIENCE = 120

port, token, version = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connected, closed, answered = threading.Event(), threading.Event(), threading.Event()
codes, granted, answers, ends = {}, {}, [], []


def on_connect(client, userdata, flags, reason, properties):
    assert not reason.is_failure and not flags.session_present, reason
    if version == 5:
        assert properties.MaximumQoS == 1 and properties.ReceiveMaximum == 100, properties
        assert properties.MaximumPacketSize == 65536 and properties.TopicAliasMaximum == 16, properties
        assert properties.SharedSubscriptionAvailable == 0 and properties.AssignedClientIdentifier, properties
    connected.set()


def on_disconnect(client, userdata, flags, reason, properties):
    ends.append((reason.value, flags.is_disconnect_packet_from_server))
    closed.set()


def on_publish(client, userdata, mid, reason, properties):
    codes[mid] = reason.value


def on_subscribe(client, userdata, mid, reasons, properties):
    granted[mid] = [reason.value for reason in reasons]


def on_message(client, userdata, message):
    answers.append((message.topic, json.loads(message.payload), message.qos))
    answered.set()


def publish(payload, qos, topic=TELEMETRY):
    message = client.publish(topic, payload, qos)
    message.wait_for_publish(PATIENCE)
    assert message.is_published(), "no PUBACK"
    return message.mid


def make():
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, client_id="" if version > 3 else "paho")
    client.username_pw_set(token)
    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.on_publish, client.on_subscribe, client.on_message = on_publish, on_subscribe, on_message
    client.connect("127.0.0.1", port, keepalive=60)
    client.loop_start()
    assert connected.wait(PATIENCE), "no CONNACK"
    return client


client = make()

# Telemetry with each quality of service that the version has for us. In v3, QoS 2 is answered by PUBACK (spec 4.2).
publish('{"qos":0}', 0)
assert codes.pop(publish('{"qos":1}', 1)) == 0
if version < 5:
    publish('{"qos":2}', 2)

# As fast as it can.
messages = [client.publish(TELEMETRY, json.dumps({"n": n}), 1) for n in range(500)]
for message in messages:
    message.wait_for_publish(PATIENCE)
assert all(message.is_published() for message in messages)

# What is refused, and that the connection survives it in v5 (spec 4.3).
if version == 5:
    assert codes[publish('{"broken":', 1)] == 0x99
    assert codes[publish('{"a":1}', 1, "nowhere")] == 0x90

# Subscriptions, and an answer (spec 5.1, 12.2).
result, mid = client.subscribe([("v1/devices/me/rpc/response/+", 1), ("#", 0), ("v2/a", 0)])
client.publish("v1/devices/me/rpc/request/7", '{"method":"getSessionLimits"}', 1)
assert answered.wait(PATIENCE), "no answer"
topic, body, qos = answers[0]
assert (topic, body["maxPayloadSize"], qos) == ("v1/devices/me/rpc/response/7", 65536, 1), answers
assert granted[mid] == [1, 0x8F if version == 5 else 0x80, 0], granted

# QoS 2 in v5 ends the connection, with the reason (spec 4.2).
if version == 5:
    client.reconnect_delay_set(PATIENCE)
    client.publish(TELEMETRY, '{"qos":2}', 2)
    assert closed.wait(PATIENCE), "still open"
    assert ends == [(0x9B, True)], ends
else:
    client.disconnect()
    assert closed.wait(PATIENCE), "still open"
    assert ends == [(0, False)], ends
client.loop_stop()
