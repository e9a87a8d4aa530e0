"""A gateway with the ThingsBoard SDK: PORT TOKEN. It does not count as connected before it has its limits."""

import sys

from tb_device_mqtt import TBPublishInfo
from tb_gateway_mqtt import TBGatewayMqttClient

from waiting import wait

port, token = int(sys.argv[1]), sys.argv[2]
client = TBGatewayMqttClient("127.0.0.1", port, token)
client.connect()
wait("the connection", client.is_connected)
wait("the session limits", lambda: client.rate_limits_received)
assert client.max_payload_size == int(65536 * 0.8), client.max_payload_size
answers = []
client.request_service_configuration(lambda request, answer, *_: answers.append(answer))
wait("the answer", lambda: answers)
unlimited = {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None}
assert answers[0]["rateLimits"] == unlimited and answers[0]["gatewayRateLimits"] == unlimited, answers

# What it says about itself.
sent = client.send_telemetry({"n": 1})
assert sent.get() == TBPublishInfo.TB_ERR_SUCCESS, sent.rc()
client.disconnect()
client.stop()
