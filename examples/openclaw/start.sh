#!/bin/sh
# The command of an OpenClaw sandbox: restore, configure, run.
#
# It runs inside, as the tenant. Everything it needs comes from its environment
# (see tidegate.toml); the installation beside it is read-only and shared by all
# users, and what the user owns is $HOME.
set -eu
umask 077

here=$(dirname "$0")
node=$here/node/bin/node

# Restore: a sandbox keeps its disk while it sleeps, so there is nothing to fetch.
mkdir -p "$HOME/.openclaw" "$HOME/.cache"

# Configure: every start, since names, ports and models may have changed meanwhile.
"$node" "$here/configure.mjs"

# V8's compiled code outlives a start. Named here, as /tmp is emptied with each
# stop; the second variable tells OpenClaw that this place is meant, without
# which it starts itself once more to choose its own.
export NODE_COMPILE_CACHE="$HOME/.cache/node-compile-cache"
export OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED=1

exec "$node" "$here/app/node_modules/openclaw/openclaw.mjs" gateway --port "${PORT:-18789}"
