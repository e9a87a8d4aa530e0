"""A device with the ThingsBoard SDK: PORT TOKEN."""

import sys

from tb_device_mqtt import TBDeviceMqttClient, TBPublishInfo

from waiting import wait

port, token = int(sys.argv[1]), sys.argv[2]
client = TBDeviceMqttClient("127.0.0.1", port, token)
client.connect()
wait("the connection", client.is_connected)

# Spec 12.2: the SDK does not count as ready before the answer to getSessionLimits, and sizes its messages by it.
wait("the session limits", lambda: client.rate_limits_received)
assert client.max_payload_size == int(65536 * 0.8), client.max_payload_size
assert client._client._max_inflight_messages == 80, client._client._max_inflight_messages
for limit in (client._messages_rate_limit, client._telemetry_rate_limit, client._telemetry_dp_rate_limit):
    assert not limit.has_limit(), limit.__dict__

# And by asking for itself.
answers = []
client.request_service_configuration(lambda request, answer, *_: answers.append(answer))
wait("the answer", lambda: answers)
assert answers[0]["rateLimits"] == {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None}, answers

for sent in (
    client.send_telemetry({"temperature": 41.9, "enabled": False, "mode": "A"}),
    client.send_telemetry({"ts": 1634567890123, "values": {"temperature": 25.5}}),
    client.send_telemetry([{"ts": 1, "values": {"n": 1}}, {"ts": 2, "values": {"n": 2}}]),
    client.send_attributes({"firmwareVersion": "1.2.3", "serialNumber": "SN-1", "count": 3}),
):
    assert sent.get() == TBPublishInfo.TB_ERR_SUCCESS, sent.rc()

# More points than fit into one message are split by the SDK.
many = client.send_telemetry([{"ts": ts, "values": {"text": "x" * 1000}} for ts in range(100, 300)])
assert many.get() == TBPublishInfo.TB_ERR_SUCCESS, many.rc()

# A method that nobody handles is answered as well (spec 12.1).
client.send_rpc_call("getTime", {}, lambda request, answer, *_: answers.append(answer))
wait("the second answer", lambda: len(answers) == 2)
assert answers[1] == {"error": "no handler"}, answers

client.disconnect()
client.stop()
