#!/bin/sh
# Answers on port 3000 that it is healthy once it has read what Grafana is given, and
# written where Grafana writes.
set -eu
cat /etc/grafana/provisioning/*/*.yml "$GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH" >/dev/null
: >/var/lib/grafana/grafana.db
mkdir -p /tmp/page/api
echo '{"database": "ok"}' >/tmp/page/api/health
exec httpd -f -p 3000 -h /tmp/page
