#!/bin/sh
# Makes what must not be in a repository, each in a file of its own under docker/secrets/. What is there already is left alone.
#
#   admin_token            whoever has it may revoke; see `admin.token`
#   token_secret           encrypts the signing keys in the store; see `tokens.secrets`. Gateways on one store share it
#   store_password         the store's, for the gateway
#   store_users            the same for the store itself: only its hash
#   grafana_password       of Grafana's `admin`
#
# The folder is the lock: nobody else can enter it (0700). The files can be read by all who can (0444), because a container
# reads them as a user that this machine does not know.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 0700 secrets
cd secrets

keep() {
    if [ -e "$1" ]; then
        cat >/dev/null
    else
        cat >"$1.new"
        chmod 0444 "$1.new"
        mv "$1.new" "$1"
        echo "made docker/secrets/$1"
    fi
}
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

random | keep admin_token
random | keep token_secret
random | keep store_password
random | keep grafana_password
printf 'user default on #%s ~* &* +@all\nuser health on nopass resetkeys resetchannels -@all +ping\n' \
    "$(sha256sum <store_password | cut -d ' ' -f 1)" | keep store_users
