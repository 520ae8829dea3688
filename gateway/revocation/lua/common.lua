-- Put before every other script. What lives under which key, and the append that is the commit [L8].
--
--   record       hash: epoch, head, head_id, floor, genesis, complete_since, declared_at, run_id (of the server it was confirmed on),
--                log (the name of this log, the same in all its epochs), register (grows when the workers change), uses_since (what else is
--                kept here is complete since then), recovers (the epoch whose facts are merged into this one).
--                While nobody may become live yet: waiting ("how-long-ms progress run_id"), phase ("merge" or "confirm"), and what the
--                workers that merged claim: claim (complete since), fresh ("1": one of them missed nothing)
--   entries      stream, ids <epoch>-<sequence>, dense [L1]
--   workers      hash: incarnation -> "state epoch position staleness_ms renewals renewed_at_s label"; the states: joining, live, draining;
--                missing (it was live, and has not been heard of since the log was lost or the server was another); merged (it was heard)
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
  local found = redis.call('HMGET', RECORD, 'epoch', 'head', 'head_id', 'floor', 'complete_since', 'run_id', 'log', 'register',
                           'uses_since', 'recovers', 'waiting', 'phase')
  if not found[1] then return nil end
  return {epoch = found[1], head = tonumber(found[2]), head_id = found[3], floor = tonumber(found[4]), complete_since = found[5],
          run_id = found[6], log = found[7] or '', register = found[8] or '0', uses_since = found[9] or '0',
          recovers = found[10] or '', waiting = found[11] or '', phase = found[12] or ''}
end

local function position_of(record, sequence)
  return record.epoch .. '-' .. whole(sequence)
end

local function compare_epochs(one, other) -- they are exact in a double
  return tonumber(one) - tonumber(other)
end

local function younger_epoch(record, than) -- the millisecond and 11 bits that the caller drew, and younger than whatever there was
  local seconds, microseconds = server_time()
  local epoch = (seconds * 1000 + math.floor(microseconds / 1000)) * 2048 + tonumber(than.bits)
  if record then epoch = math.max(epoch, tonumber(record.epoch) + 1) end
  if than.epoch then epoch = math.max(epoch, tonumber(than.epoch) + 1) end
  local last = redis.call('XREVRANGE', ENTRIES, '+', '-', 'COUNT', 1)
  if last[1] then epoch = math.max(epoch, tonumber(string.match(last[1][1], '^(%d+)-')) + 1) end
  return whole(epoch)
end

local function read_line(line)
  local state, epoch, position, staleness, rest = string.match(line, '^(%S+) (%S+) (%d+) (%d+) (.*)$')
  return {state = state, epoch = epoch, position = position, staleness = tonumber(staleness), rest = rest}
end

local function write_line(incarnation, line)
  redis.call('HSET', WORKERS, incarnation, table.concat({line.state, line.epoch, line.position, whole(line.staleness), line.rest}, ' '))
end

local function each_worker(visit)
  local flat = redis.call('HGETALL', WORKERS)
  for at = 1, #flat, 2 do visit(flat[at], read_line(flat[at + 1])) end
end

-- From now on nobody becomes live until whoever is missing was heard, or somebody waited for 1.25 x the largest staleness among them [L5, W2].
local function wait_for_missing(record, phase, running, progress)
  local longest = 0
  each_worker(function(_, line)
    if line.state == 'missing' then longest = math.max(longest, line.staleness) end
  end)
  record.phase, record.waiting = phase, whole(longest * 1.25) .. ' ' .. whole(progress) .. ' ' .. running
  redis.call('HSET', RECORD, 'phase', phase, 'waiting', record.waiting)
  redis.call('HINCRBY', RECORD, 'register', 1)
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

local function unpack_state(raw)
  if not raw then return {value = 0, expires = 0, sequence = 0, lifted = 0, kind = 0, target = NONE, newest = NONE} end
  local value, expires, sequence, lifted, kind, target, newest = struct.unpack(STATE, raw)
  return {value = value, expires = expires, sequence = sequence, lifted = lifted, kind = kind, target = target, newest = newest}
end

local function read_state(key)
  return unpack_state(redis.call('HGET', STATES, key))
end

local function pack_state(state)
  return struct.pack(STATE, state.value, state.expires, state.sequence, state.lifted, state.kind, state.target, state.newest)
end

local function write_state(key, state)
  redis.call('HSET', STATES, key, pack_state(state))
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
