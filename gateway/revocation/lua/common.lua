-- Put before every other script. What lives under which key, and the append that is the commit [L8].
--
--   record       hash: epoch, head, head_id, floor, genesis, complete_since, declared_at, run_id
--   entries      stream, ids <epoch>-<sequence>, dense [L1]
--   workers      hash: incarnation -> "state epoch position staleness_ms renewals renewed_at_s label"
--   facts        sorted set: fact key by expiry, for the purge [L6]
--   states       hash: fact key -> STATE, what all revocations of that key result in
--   revocations  hash: revocation id -> {fact key, kind, value, expires, lift's sequence or 0, id of the one before on the same key, sequence,
--                people's text, ids of what was revoked with it}
--   acks         channel: "incarnation epoch position", "incarnation left"
--
-- Numbers stay below 2^53, so Lua's doubles hold them exactly; `whole` prints them without an exponent.
local RECORD, ENTRIES, WORKERS, FACTS, STATES, REVOCATIONS, ACKS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local STATE = '>I8I8I8I8Bc16c16' -- value, expires, sequence, lifted, kind, not-before to fold into, newest revocation
local NONE = string.rep('\0', 16)

local function whole(number)
  return string.format('%.0f', number)
end

local function server_time()
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2])
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end

local function is_master()
  return string.match(redis.call('INFO', 'replication'), 'role:(%a+)') == 'master'
end

local function read_record()
  local found = redis.call('HMGET', RECORD, 'epoch', 'head', 'head_id', 'floor', 'complete_since', 'run_id')
  if not found[1] then return nil end
  return {epoch = found[1], head = tonumber(found[2]), head_id = found[3], floor = tonumber(found[4]),
          complete_since = found[5], run_id = found[6]}
end

local function position_of(record, sequence)
  return record.epoch .. '-' .. whole(sequence)
end

local function append(record, id, kind, key, value, expires, revocation, lifted_kind, target, text)
  local seconds, microseconds = server_time()
  local sequence = record.head + 1
  redis.call('XADD', ENTRIES, position_of(record, sequence),
    'id', id, 'before', record.head_id, 'kind', kind, 'key', key, 'value', whole(value), 'expires', whole(expires),
    'revocation', revocation, 'lifted', lifted_kind, 'target', target, 'text', text,
    'at', whole(seconds) .. string.format('.%06d', microseconds))
  redis.call('HSET', RECORD, 'head', whole(sequence), 'head_id', id)
  record.head, record.head_id = sequence, id
  return sequence
end

local function read_state(key)
  local raw = redis.call('HGET', STATES, key)
  if not raw then return {value = 0, expires = 0, sequence = 0, lifted = 0, kind = 0, target = NONE, newest = NONE} end
  local value, expires, sequence, lifted, kind, target, newest = struct.unpack(STATE, raw)
  return {value = value, expires = expires, sequence = sequence, lifted = lifted, kind = kind, target = target, newest = newest}
end

local function write_state(key, state)
  redis.call('HSET', STATES, key, struct.pack(STATE, state.value, state.expires, state.sequence, state.lifted, state.kind, state.target, state.newest))
  redis.call('ZADD', FACTS, whole(state.expires), key)
end

-- One revoked fact: its entry, its revocation, its state. `fact` holds entry, revocation, kind, number, key, value, expires, target, text, with.
local function revoke_fact(record, fact)
  local state = read_state(fact.key)
  local sequence = append(record, fact.entry, fact.kind, fact.key, fact.value, fact.expires, fact.revocation, '', fact.target, fact.text)
  redis.call('HSET', REVOCATIONS, fact.revocation,
    cmsgpack.pack({fact.key, fact.kind, fact.value, fact.expires, 0, state.newest, sequence, fact.text, fact.with or {}}))
  state.value, state.expires = math.max(state.value, fact.value), math.max(state.expires, fact.expires)
  state.sequence, state.newest, state.kind, state.target = sequence, fact.revocation, fact.number, fact.target
  write_state(fact.key, state)
  return sequence
end

-- What a receipt needs: the position to wait for and who has to reach it [W1].
local function to_wait_for(record, sequence)
  return {'appended', record.epoch, whole(sequence), redis.call('HGETALL', WORKERS)}
end
