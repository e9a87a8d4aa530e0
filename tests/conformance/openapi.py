"""Checks that the file named on the command line is a valid OpenAPI document."""

import json
import sys

from openapi_spec_validator import validate

with open(sys.argv[1], encoding="utf-8") as file:
    validate(json.load(file))
