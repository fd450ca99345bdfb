#!/usr/bin/env bash
# The production set in the foreground, for trying out: PostgreSQL, nginx with passwords and TLS, and all services, on this
# machine only, below NEXT_AISLE_DATA. Needs Debian's postgresql, nginx-light and openssl. Ctrl+C ends all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
port=${PORT:-8443} ui=${UI_PORT:-3000} viewers=${VIEWERS_PORT:-3001} postgres=${POSTGRES_PORT:-5433}
export NEXT_AISLE_DATA=${NEXT_AISLE_DATA:-$PWD/data}
export NEXT_AISLE_UI_HOSTS=aisle.example.org,aisle-view.example.org NEXT_AISLE_UI_URL=https://aisle.example.org:$port
umask 077
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1) || true
nginx=$(command -v nginx || echo /usr/sbin/nginx)
if [ ! -x "$bin/postgres" ] || [ ! -x "$nginx" ]; then
  echo "error: PostgreSQL and nginx are needed: apt-get install postgresql nginx-light" >&2; exit 1
fi
place=$NEXT_AISLE_DATA/production-local
mkdir -p "$place/tls"
# PostgreSQL refuses to run as root.
if [ "$(id -u)" = 0 ]; then as() { runuser -u postgres -- "$@"; }; else as() { "$@"; }; fi
cluster=$place/postgres
if [ "$(id -u)" = 0 ]; then
  # Its own user must reach it: not below a private folder.
  cluster=/var/tmp/next-aisle-postgres-$postgres; install -d -o postgres -g postgres -m 0700 "$cluster"
else
  mkdir -p "$cluster"
fi
[ -f "$cluster/PG_VERSION" ] || as "$bin/initdb" -D "$cluster" -U next_aisle --auth=trust > "$place/initdb.log"
stop() {
  trap - EXIT INT TERM
  [ -n "${services:-}" ] && kill "$services" 2>/dev/null && wait "$services" 2>/dev/null
  [ -f "$place/nginx.pid" ] && "$nginx" -c "$place/nginx.conf" -p "$place" -s stop 2>/dev/null
  as "$bin/pg_ctl" -D "$cluster" -m fast -s stop || true
}
trap stop EXIT
trap 'exit 0' INT TERM
as "$bin/pg_ctl" -D "$cluster" -s -w -l "$cluster/log" -o "-p $postgres -c listen_addresses=127.0.0.1 -k $cluster" start
as "$bin/createdb" -h 127.0.0.1 -p "$postgres" -U next_aisle next_aisle 2>/dev/null || true
export NEXT_AISLE_DAGSTER_POSTGRES_URL=postgresql+psycopg2://next_aisle@127.0.0.1:$postgres/next_aisle
[ -f "$place/tls/cert.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=aisle.example.org \
  -addext subjectAltName=DNS:aisle.example.org,DNS:aisle-view.example.org \
  -keyout "$place/tls/key.pem" -out "$place/tls/cert.pem" 2>/dev/null
for who in operators viewers; do
  if [ ! -f "$place/$who" ]; then
    password=$(openssl rand -hex 8)
    echo "${who%s}:$(openssl passwd -apr1 "$password")" > "$place/$who"
    echo "$password" > "$place/$who.password"
  fi
done
cp deployment/nginx/proxy.conf "$place/"
{
  echo "pid $place/nginx.pid; error_log $place/nginx-error.log; events {}"
  # As root its workers have another user, who could not read the files below a private folder.
  [ "$(id -u)" = 0 ] && echo "user root;"
  echo "http { access_log off; client_body_temp_path $place/body; proxy_temp_path $place/proxy;"
  echo "fastcgi_temp_path $place/f; uwsgi_temp_path $place/u; scgi_temp_path $place/s;"
  sed -e "s#/etc/next-aisle#$place#; s#listen 443#listen 127.0.0.1:$port#; s#:3000#:$ui#; s#:3001#:$viewers#" \
    deployment/nginx/next-aisle.conf
  echo "}"
} > "$place/nginx.conf"
"$nginx" -c "$place/nginx.conf" -p "$place" -e "$place/nginx-error.log"
echo "operators: https://aisle.example.org:$port as operator, password in $place/operators.password"
echo "viewers:   https://aisle-view.example.org:$port as viewer, password in $place/viewers.password"
echo "           (both names on 127.0.0.1, such as in /etc/hosts; the certificate is this machine's own)"
"$python" -m orchestration ui --port "$ui" --viewers-port "$viewers" & services=$!
wait "$services"
