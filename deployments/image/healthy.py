"""healthy.py PORT: exit status 0 if the process behind this container's port says that it is ready."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=4)
connection.request("GET", "/health/ready", headers={"Host": "localhost"})
sys.exit(connection.getresponse().status != http.client.OK)
