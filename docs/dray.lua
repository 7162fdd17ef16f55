-- Wireshark dissectors for both protocols of dray: the dray protocol (docs/PROTOCOL.md) as "dray", the
-- sync protocol (docs/SYNC-PROTOCOL.md) as "dray_sync".
--
--   wireshark -X lua_script:docs/dray.lua capture.pcap
--   tshark    -X lua_script:docs/dray.lua -r capture.pcap -Y 'dray_sync.code.locked'
--
-- or copy the file into the folder of personal Lua plugins. Connections whose first bytes are in the capture
-- are found by themselves. For all others: "Decode As…", the preferences "TCP ports" of both protocols, or
--
--   tshark -d tcp.port==9000,dray -d tcp.port==7001,dray_sync …

local dray = Proto("dray", "dray protocol")
local sync = Proto("dray_sync", "dray sync protocol")

-- Fields ---------------------------------------------------------------------------------------------

local MESSAGES = {
  [1] = "HELLO", [2] = "WELCOME", [3] = "ERROR", [4] = "PING", [5] = "PONG",
  [16] = "LIST", [17] = "MORE", [18] = "ENTRIES", [19] = "LISTED", [20] = "FETCH", [21] = "FILE",
  [22] = "DATA", [23] = "END", [24] = "SUMS", [25] = "DIGESTS", [26] = "RECALL", [32] = "ORDER", [33] = "EVENT",
  [40] = "PUT", [41] = "READY", [42] = "DONE", [43] = "REMOVE", [44] = "RENAME", [45] = "CACHE",
  [46] = "CACHED",
}
local ERRORS = {
  [1] = "internal", [2] = "usage", [3] = "partial", [4] = "not-found", [5] = "integrity", [6] = "changed",
  [7] = "protocol", [8] = "unauthorized", [9] = "refused", [10] = "name", [11] = "unsupported",
  [12] = "busy", [13] = "unreachable", [14] = "timeout", [15] = "closed", [16] = "storage",
  [17] = "no-space", [18] = "interrupted", [19] = "locked",
}
local KINDS = {
  [0] = "file", [1] = "directory", [2] = "symlink", [3] = "special", [4] = "unreadable", [5] = "unnameable",
  [6] = "unfinished",
}
local DIGESTS = { [1] = "xxh3", [2] = "sha256" }
local DIGEST_BYTES = { [1] = 8, [2] = 32 }
local MAX_FRAME_PAYLOAD = 4194304

local f = {
  check = ProtoField.uint32("dray.check", "Check", base.HEX),
  payload_bytes = ProtoField.uint32("dray.payload_bytes", "Payload length"),
  type = ProtoField.uint8("dray.type", "Type", base.DEC, MESSAGES),
  flags = ProtoField.uint8("dray.flags", "Flags", base.HEX),
  reserved = ProtoField.uint16("dray.reserved", "Reserved", base.HEX),
  request = ProtoField.uint32("dray.request", "Request id"),
  magic = ProtoField.string("dray.magic", "Magic"),
  version_min = ProtoField.uint16("dray.version_min", "Oldest version"),
  version_max = ProtoField.uint16("dray.version_max", "Newest version"),
  version = ProtoField.uint16("dray.version", "Version"),
  capabilities = ProtoField.uint32("dray.capabilities", "Capabilities", base.HEX),
  content = ProtoField.bool("dray.capabilities.content", "content", 32, nil, 0x1),
  orders = ProtoField.bool("dray.capabilities.orders", "orders", 32, nil, 0x2),
  cache = ProtoField.bool("dray.capabilities.cache", "cache", 32, nil, 0x4),
  writes = ProtoField.bool("dray.capabilities.writes", "writes", 32, nil, 0x8),
  recall = ProtoField.bool("dray.capabilities.recall", "recall", 32, nil, 0x10),
  token = ProtoField.bytes("dray.token", "Token"),
  agent = ProtoField.string("dray.agent", "Agent"),
  max_requests = ProtoField.uint32("dray.max_requests", "Most requests under way"),
  code = ProtoField.uint16("dray.code", "Error code", base.DEC, ERRORS),
  retry_after = ProtoField.uint32("dray.retry_after_ms", "Retry after (ms)"),
  message = ProtoField.string("dray.message", "Message"),
  credit = ProtoField.uint32("dray.credit", "Credit"),
  path = ProtoField.string("dray.path", "Path"),
  entry = ProtoField.none("dray.entry", "Entry"),
  kind = ProtoField.uint8("dray.kind", "Kind", base.DEC, KINDS),
  mode = ProtoField.uint16("dray.mode", "Mode", base.OCT),
  size = ProtoField.int64("dray.size", "Size"),
  mtime = ProtoField.int64("dray.mtime_us", "Modified (us since 1970)"),
  target = ProtoField.string("dray.target", "Link target"),
  files = ProtoField.int64("dray.files", "Files"),
  directories = ProtoField.int64("dray.directories", "Directories"),
  others = ProtoField.int64("dray.others", "Others"),
  offset = ProtoField.int64("dray.offset", "Offset"),
  length = ProtoField.int64("dray.length", "Length"),
  delay = ProtoField.uint32("dray.delay_ms", "Delay (ms)"),
  digest_kind = ProtoField.uint8("dray.digest_kind", "Digest", base.DEC, DIGESTS),
  digest = ProtoField.bytes("dray.digest", "Digest"),
  piece = ProtoField.bytes("dray.piece", "Piece"),
  piece_bytes = ProtoField.uint32("dray.piece_bytes", "Piece length"),
  chain = ProtoField.bytes("dray.chain", "Chain"),
  json = ProtoField.string("dray.json", "JSON"),
  put_flags = ProtoField.uint8("dray.put_flags", "Flags of PUT", base.HEX),
  eager = ProtoField.bool("dray.put_flags.eager", "the bytes follow at once", 8, nil, 0x1),
  count = ProtoField.int64("dray.count", "Count"),
  from = ProtoField.string("dray.from", "From"),
  to = ProtoField.string("dray.to", "To"),
  hits = ProtoField.int64("dray.hits", "Hits"),
  pins = ProtoField.uint32("dray.pins", "Pins"),
}
dray.fields = f

local SYNC_TYPES = {
  [1] = "File Chunk", [2] = "Status", [3] = "Close", [4] = "Abort", [5] = "Delete", [6] = "Request",
}
-- In the order in which they are shown: bit, field, words.
local SYNC_CODES = {
  { 0x0001, "ok", "OK" },
  { 0x0002, "bad_checksum", "Resend: checksum incorrect" },
  { 0x0004, "bad_size", "Resend: invalid chunk size" },
  { 0x0008, "checksum_abort", "Abort after 3 incorrect checksums" },
  { 0x0010, "size_abort", "Abort after 3 invalid chunks" },
  { 0x0020, "no_file", "No file to delete" },
  { 0x0040, "locked", "Abort: file locked" },
  { 0x0080, "in_use", "Abort: file in use" },
  { 0x8000, "keep_alive", "Keep-alive" },
}

local s = {
  type = ProtoField.uint16("dray_sync.type", "Type", base.HEX, SYNC_TYPES),
  md5 = ProtoField.bytes("dray_sync.md5", "MD5"),
  size = ProtoField.uint32("dray_sync.size", "Chunk size"),
  name_length = ProtoField.uint16("dray_sync.name_length", "Name length"),
  name = ProtoField.string("dray_sync.name", "Name"),
  data = ProtoField.bytes("dray_sync.data", "Data"),
  metadata = ProtoField.string("dray_sync.metadata", "META-DATA"),
  code = ProtoField.uint16("dray_sync.code", "Code", base.HEX),
}
for _, code in ipairs(SYNC_CODES) do
  s["code_" .. code[2]] = ProtoField.bool("dray_sync.code." .. code[2], code[3], 16, nil, code[1])
end
sync.fields = s

local malformed = ProtoExpert.new("dray.malformed", "Not the dray protocol", expert.group.MALFORMED, expert.severity.ERROR)
local leftover = ProtoExpert.new("dray.leftover", "Bytes behind the message", expert.group.MALFORMED, expert.severity.ERROR)
dray.experts = { malformed, leftover }
local sync_malformed = ProtoExpert.new("dray_sync.malformed", "Not the sync protocol", expert.group.MALFORMED, expert.severity.ERROR)
local oversize = ProtoExpert.new("dray_sync.oversize", "Chunk too large to be put together", expert.group.REASSEMBLE, expert.severity.WARN)
sync.experts = { sync_malformed, oversize }

-- Messages out of a TCP stream -----------------------------------------------------------------------

-- Calls `dissect(range, pinfo, root)` for each message in `tvb`, and has TCP collect what is not whole.
-- `length_of(tvb, offset)` gives a message's length, nil while it cannot be known yet, 0 for what is none.
-- `spoilt(range, pinfo, root)` is called for the rest from there on.
local function each_message(tvb, pinfo, root, length_of, dissect, spoilt)
  local offset = 0
  while offset < tvb:len() do
    local available = tvb:len() - offset
    local length = length_of(tvb, offset)
    if length == 0 then
      spoilt(tvb(offset), pinfo, root)
      return tvb:len()
    end
    if length == nil or length > available then
      -- Packets that were captured in part cannot be put together.
      if tvb:len() < tvb:reported_len() then return tvb:len() end
      pinfo.desegment_offset = offset
      pinfo.desegment_len = length == nil and DESEGMENT_ONE_MORE_SEGMENT or length - available
      return tvb:len()
    end
    dissect(tvb(offset, length), pinfo, root)
    offset = offset + length
  end
  return offset
end

local function append_info(pinfo, name, text, fence)
  pinfo.cols.protocol = name
  if fence.frame ~= pinfo.number then
    fence.frame = pinfo.number
    pinfo.cols.info = text
  else
    pinfo.cols.info:append(", " .. text)
  end
end

-- The dray protocol ----------------------------------------------------------------------------------

-- With which digest a request's pieces come: its FETCH, SUMS, RECALL or PUT said so.
local digest_kinds = {}
local dray_fence = {}

-- The same for both directions. (The field tcp.stream is not there while Wireshark reads a file.)
local function request_key(pinfo, id)
  local from = tostring(pinfo.src) .. ":" .. pinfo.src_port
  local to = tostring(pinfo.dst) .. ":" .. pinfo.dst_port
  return (from < to and from .. "/" .. to or to .. "/" .. from) .. "/" .. id
end

-- Reads the fields of one payload, one behind the other, into its tree.
local Reader = {}
Reader.__index = Reader

function Reader.new(range, tree)
  return setmetatable({ range = range, at = 0, tree = tree }, Reader)
end

function Reader:left()
  return self.range:len() - self.at
end

function Reader:take(count)
  local part = self.range(self.at, count)
  self.at = self.at + count
  return part
end

function Reader:number(field, bytes)
  local part = self:take(bytes)
  local item = self.tree:add_le(field, part)
  return bytes == 8 and part:le_int64() or part:le_uint(), item
end

function Reader:text(field)
  local bytes = self:take(2):le_uint()
  if bytes == 0 then
    self.tree:add(field, self.range(self.at - 2, 2), "")
    return ""
  end
  local part = self:take(bytes)
  local value = part:string(ENC_UTF_8)
  self.tree:add(field, part, value)
  return value
end

function Reader:bytes(field, count)
  if count > 0 then self.tree:add(field, self:take(count)) end
end

function Reader:time(field)
  local value, item = self:number(field, 8)
  item:append_text(os.date("!  %Y-%m-%dT%H:%M:%SZ", math.floor(value:tonumber() / 1000000)))
end

function Reader:capabilities()
  local part = self:take(4)
  local tree = self.tree:add_le(f.capabilities, part)
  for _, bit in ipairs({ f.content, f.orders, f.cache, f.writes, f.recall }) do tree:add_le(bit, part) end
end

-- Each takes the payload's reader, and gives what the packet list says besides the message's name.
local PAYLOADS = {
  HELLO = function(r)
    r:bytes(f.magic, 4)
    r:number(f.version_min, 2)
    r:number(f.version_max, 2)
    r:capabilities()
    r:bytes(f.token, r:take(2):le_uint())
    return r:text(f.agent)
  end,
  WELCOME = function(r)
    r:bytes(f.magic, 4)
    r:number(f.version, 2)
    r:capabilities()
    r:number(f.max_requests, 4)
    return r:text(f.agent)
  end,
  ERROR = function(r)
    local code = r:number(f.code, 2)
    r:number(f.retry_after, 4)
    r:text(f.message)
    return ERRORS[code] or tostring(code)
  end,
  PING = function() end,
  PONG = function() end,
  LIST = function(r)
    r:number(f.credit, 4)
    return r:text(f.path)
  end,
  MORE = function(r) return tostring(r:number(f.credit, 4)) end,
  ENTRIES = function(r)
    local root, count = r.tree, 0
    while r:left() > 0 do
      r.tree = root:add(f.entry, r.range(r.at))
      local start = r.at
      r:number(f.kind, 1)
      r:number(f.mode, 2)
      r:number(f.size, 8)
      r:time(f.mtime)
      local path = r:text(f.path)
      r:text(f.target)
      r.tree:set_len(r.at - start):append_text(": " .. path)
      count = count + 1
    end
    r.tree = root
    return "(" .. count .. ")"
  end,
  LISTED = function(r)
    r:number(f.files, 8)
    r:number(f.directories, 8)
    r:number(f.others, 8)
  end,
  FETCH = function(r, request)
    r:number(f.offset, 8)
    r:number(f.length, 8)
    r:number(f.delay, 4)
    digest_kinds[request] = r:number(f.digest_kind, 1)
    return r:text(f.path)
  end,
  FILE = function(r)
    local size = r:number(f.size, 8)
    r:time(f.mtime)
    r:number(f.mode, 2)
    r:number(f.offset, 8)
    r:number(f.length, 8)
    return "of " .. tostring(size) .. " bytes"
  end,
  DATA = function(r, request)
    -- A request from before the capture: most likely the default.
    local bytes = DIGEST_BYTES[digest_kinds[request]] or 8
    r:bytes(f.digest, math.min(bytes, r:left()))
    local piece_bytes = r:left()
    r:bytes(f.piece, piece_bytes)
    return piece_bytes .. " bytes"
  end,
  END = function(r)
    r:number(f.length, 8)
    r:bytes(f.chain, r:left())
  end,
  SUMS = function(r, request)
    r:number(f.piece_bytes, 4)
    digest_kinds[request] = r:number(f.digest_kind, 1)
    return r:text(f.path)
  end,
  RECALL = function(r, request)
    r:number(f.piece_bytes, 4)
    digest_kinds[request] = r:number(f.digest_kind, 1)
    return r:text(f.path)
  end,
  DIGESTS = function(r, request)
    local bytes = DIGEST_BYTES[digest_kinds[request]] or 8
    while r:left() > 0 do r:bytes(f.digest, math.min(bytes, r:left())) end
  end,
  PUT = function(r, request)
    r:number(f.size, 8)
    r:time(f.mtime)
    r:number(f.mode, 2)
    digest_kinds[request] = r:number(f.digest_kind, 1)
    local flags = r:take(1)
    r.tree:add(f.put_flags, flags):add(f.eager, flags)
    return r:text(f.path)
  end,
  READY = function(r) r:number(f.offset, 8) end,
  DONE = function(r) r:number(f.count, 8) end,
  REMOVE = function(r) return r:text(f.path) end,
  RENAME = function(r) return r:text(f.from) .. " to " .. r:text(f.to) end,
  CACHE = function() end,
  CACHED = function(r)
    local root = r.tree
    while r:left() > 0 do
      r.tree = root:add(f.entry, r.range(r.at))
      local start = r.at
      local path = r:text(f.path)
      r:number(f.size, 8)
      r:number(f.hits, 8)
      r:number(f.pins, 4)
      r.tree:set_len(r.at - start):append_text(": " .. path)
    end
    r.tree = root
  end,
}

local function json_payload(r, _, pinfo)
  local part = r:take(r:left())
  r.tree:add(f.json, part, part:string(ENC_UTF_8))
  local info = tostring(pinfo.cols.info)
  Dissector.get("json"):call(part:tvb(), pinfo, r.tree)
  -- The other dissector writes itself into the packet list.
  pinfo.cols.info = info
  return part:string(ENC_UTF_8):match('"do"%s*:%s*"(%w+)"') or part:string(ENC_UTF_8):match('"type"%s*:%s*"(%w+)"')
end
PAYLOADS.ORDER = json_payload
PAYLOADS.EVENT = json_payload

local function frame_length(tvb, offset)
  if tvb:len() - offset < 16 then return nil end
  local payload_bytes = tvb(offset + 4, 4):le_uint()
  local is_frame = MESSAGES[tvb(offset + 8, 1):uint()] ~= nil
    and tvb(offset + 9, 3):uint() == 0
    and payload_bytes <= MAX_FRAME_PAYLOAD
  return is_frame and 16 + payload_bytes or 0
end

local function dissect_frame(range, pinfo, root)
  local tree = root:add(dray, range)
  local type = range(8, 1):uint()
  local id = range(12, 4):le_uint()
  local name = MESSAGES[type]
  tree:add_le(f.check, range(0, 4))
  tree:add_le(f.payload_bytes, range(4, 4))
  tree:add(f.type, range(8, 1))
  tree:add(f.flags, range(9, 1))
  tree:add_le(f.reserved, range(10, 2))
  tree:add_le(f.request, range(12, 4))
  local request = request_key(pinfo, id)
  local text = ""
  if range:len() > 16 then
    local reader = Reader.new(range(16):tvb()(), tree)
    -- A field that is cut off throws; Wireshark must show the frames behind it all the same.
    local ok, detail = pcall(PAYLOADS[name], reader, request, pinfo)
    if not ok then
      tree:add_proto_expert_info(malformed, "The payload is too short")
    elseif reader:left() > 0 then
      tree:add_proto_expert_info(leftover)
    end
    if ok and detail ~= nil then text = " " .. detail end
  end
  local label = name .. (id > 0 and " #" .. id or "") .. text
  tree:append_text(", " .. label)
  append_info(pinfo, "dray", label, dray_fence)
end

local function spoilt_frame(range, pinfo, root)
  root:add(dray, range):add_proto_expert_info(malformed)
  append_info(pinfo, "dray", "not a frame", dray_fence)
end

function dray.dissector(tvb, pinfo, root)
  dray_fence.frame = nil
  return each_message(tvb, pinfo, root, frame_length, dissect_frame, spoilt_frame)
end

function dray.init()
  digest_kinds = {}
end

-- HELLO and WELCOME begin with the magic.
local function looks_like_dray(tvb)
  if tvb:len() < 20 then return false end
  local type = tvb(8, 1):uint()
  return (type == 1 or type == 2) and tvb(16, 4):string() == "DRAY"
end

-- The sync protocol ----------------------------------------------------------------------------------

local sync_fence = {}
sync.prefs.max_mib = Pref.uint("Largest chunk to put together (MiB)", 64, "Larger ones are shown without their data, and what follows them is lost")

-- Where a message's name is, and how long; nil while that cannot be known.
local function name_place(tvb, offset)
  local length_at = tvb(offset, 2):le_uint() == 1 and 22 or 18
  if tvb:len() - offset < length_at + 2 then return nil end
  return length_at + 2, tvb(offset + length_at, 2):le_uint()
end

local function sync_length(tvb, offset)
  if tvb:len() - offset < 2 then return nil end
  local type = tvb(offset, 2):le_uint()
  if type == 2 then return 4 end
  if SYNC_TYPES[type] == nil then return 0 end
  local name_at, name_bytes = name_place(tvb, offset)
  if name_at == nil then return nil end
  if name_bytes == 0 then return 0 end
  local size = type == 1 and tvb(offset + 18, 4):le_uint() or 0
  -- Of a chunk that is too large its head alone.
  return name_at + name_bytes + (size <= sync.prefs.max_mib * 1048576 and size or 0)
end

local function code_words(code_range, tree)
  local code = code_range:le_uint()
  local words = {}
  for _, known in ipairs(SYNC_CODES) do
    if tree then tree:add_le(s["code_" .. known[2]], code_range) end
    if math.floor(code / known[1]) % 2 == 1 then words[#words + 1] = known[3] end
  end
  return #words > 0 and table.concat(words, " + ") or string.format("unknown code 0x%04x", code)
end

local function dissect_sync(range, pinfo, root)
  local tree = root:add(sync, range)
  local type = range(0, 2):le_uint()
  local label
  tree:add_le(s.type, range(0, 2))
  if type == 2 then
    label = "Status " .. code_words(range(2, 2), tree:add_le(s.code, range(2, 2)))
  else
    tree:add(s.md5, range(2, 16))
    if type == 1 then tree:add_le(s.size, range(18, 4)) end
    local name_at = type == 1 and 24 or 20
    local name_bytes = range(name_at - 2, 2):le_uint()
    local name = range(name_at, name_bytes):string(ENC_UTF_8)
    tree:add_le(s.name_length, range(name_at - 2, 2))
    tree:add(s.name, range(name_at, name_bytes), name)
    label = SYNC_TYPES[type] .. " " .. name
    local data_at = name_at + name_bytes
    if type == 1 then
      local size = range(18, 4):le_uint()
      label = label .. " (" .. size .. " bytes)"
      if size > range:len() - data_at then
        tree:add_proto_expert_info(oversize)
      elseif size > 0 and name == "META-DATA" then
        tree:add(s.metadata, range(data_at), range(data_at):string(ENC_UTF_8))
      elseif size > 0 then
        tree:add(s.data, range(data_at))
      end
    end
  end
  tree:append_text(", " .. label)
  append_info(pinfo, "dray sync", label, sync_fence)
end

local function spoilt_sync(range, pinfo, root)
  root:add(sync, range):add_proto_expert_info(sync_malformed)
  append_info(pinfo, "dray sync", "not a message", sync_fence)
end

function sync.dissector(tvb, pinfo, root)
  sync_fence.frame = nil
  return each_message(tvb, pinfo, root, sync_length, dissect_sync, spoilt_sync)
end

-- There is no magic: known statuses up to the end of the packet, or a name of text where a name belongs.
local function looks_like_sync(tvb)
  local offset = 0
  while tvb:len() - offset >= 4 and tvb(offset, 2):le_uint() == 2 do
    if code_words(tvb(offset + 2, 2)):find("unknown") ~= nil then return false end
    offset = offset + 4
  end
  if tvb:len() - offset < 4 then return offset > 0 and offset == tvb:len() end
  if SYNC_TYPES[tvb(offset, 2):le_uint()] == nil then return false end
  local name_at, name_bytes = name_place(tvb, offset)
  if name_at == nil or name_bytes == 0 or name_bytes > 4096 then return false end
  if tvb:len() - offset < name_at + name_bytes then return false end
  return tvb(offset + name_at, name_bytes):string(ENC_UTF_8):find("%c") == nil
end

-- Registration ---------------------------------------------------------------------------------------

local function register(proto, looks_like)
  local ports = ""
  proto.prefs.ports = Pref.range("TCP ports", "", "Ports of servers, besides the connections that are found by themselves", 65535)
  function proto.prefs_changed()
    local wanted = tostring(proto.prefs.ports)
    if wanted == ports then return end
    if ports ~= "" then DissectorTable.get("tcp.port"):remove(ports, proto) end
    if wanted ~= "" then DissectorTable.get("tcp.port"):add(wanted, proto) end
    ports = wanted
  end
  DissectorTable.get("tcp.port"):add_for_decode_as(proto)
  proto:register_heuristic("tcp", function(tvb, pinfo, root)
    if not looks_like(tvb) then return false end
    pinfo.conversation = proto
    proto.dissector(tvb, pinfo, root)
    return true
  end)
end

register(dray, looks_like_dray)
register(sync, looks_like_sync)
