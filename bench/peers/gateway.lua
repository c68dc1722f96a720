-- What a gateway in Lua does, as it is commonly written: a table of keys and counters in shared dictionaries, limits in the access
-- phase, the request's JSON decoded to learn the model and to ask for usage, each event of a stream decoded to find it.
local cjson = require "cjson.safe"

local gateway = {}
local keys, counters = ngx.shared.keys, ngx.shared.counters
local find, sub = string.find, string.sub

-- requests and tokens a minute, requests in flight, tokens a month; of each key, user, model, address and of all
gateway.limits = { requests = 1000000000, tokens = 1000000000, running = 60000, quota = 1000000000 }
-- Whether events without the word usage are decoded too, as most do, which also look for text, errors and the like.
gateway.decodes_all = true

-- Lines "KEY USER". At start.
function gateway.load(path)
    for line in io.lines(path) do
        local key, user = line:match("^(%S+) (%S+)$")
        local ok, why = keys:safe_set(key, user)
        if not ok then
            error("keys: " .. why)
        end
    end
end

local function refuse(status, kind, code, message)
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    if status == 429 then
        ngx.header["Retry-After"] = 60
    end
    ngx.say(cjson.encode({ error = { message = message, type = kind, param = cjson.null, code = code } }))
    return ngx.exit(status)
end

local function release(ctx)
    for _, scope in ipairs(ctx.held or {}) do
        counters:incr(scope .. ":running", -1)
    end
    ctx.held = nil
end

local function read_body()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if not body then
        local path = ngx.req.get_body_file()
        local file = path and io.open(path, "rb")
        if file then
            body = file:read("*a")
            file:close()
        end
    end
    return body
end

function gateway.access()
    local ctx, var, limits = ngx.ctx, ngx.var, gateway.limits
    local header = var.http_authorization
    local key = header and header:match("^Bearer%s+(%S+)$")
    local user = key and keys:get(key)
    if not user then
        return refuse(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
    end
    local body = read_body()
    local request = body and cjson.decode(body)
    if type(request) ~= "table" then
        return refuse(400, "invalid_request_error", cjson.null, "The body is not JSON.")
    end
    local minute, month = math.floor(ngx.time() / 60), sub(ngx.today(), 1, 7)
    local scopes = {
        "key:" .. key, "user:" .. user, "model:" .. tostring(request.model), "address:" .. var.remote_addr, "all",
    }
    ctx.held = {}
    for _, scope in ipairs(scopes) do
        local over = counters:incr(scope .. ":requests:" .. minute, 1, 0, 120) > limits.requests
            or (counters:get(scope .. ":tokens:" .. minute) or 0) > limits.tokens
            or (counters:get(scope .. ":quota:" .. month) or 0) > limits.quota
        if not over then
            over = counters:incr(scope .. ":running", 1, 0) > limits.running
            ctx.held[#ctx.held + 1] = scope
        end
        if over then
            release(ctx)
            return refuse(429, "requests", "rate_limit_exceeded", "Rate limit reached.")
        end
    end
    ctx.scopes, ctx.minute, ctx.month = scopes, minute, month
    ctx.stream = request.stream == true
    var.bench_user = user
    var.bench_model = tostring(request.model)
    if ctx.stream then
        local options = request.stream_options
        if type(options) ~= "table" or not options.include_usage then
            request.stream_options = { include_usage = true }
            ngx.req.set_body_data(cjson.encode(request))
            ctx.strips = true
        end
    end
end

function gateway.header_filter()
    if ngx.ctx.strips then
        ngx.header["Content-Length"] = nil
    end
end

local function take_usage(ctx, reply)
    local usage = type(reply) == "table" and reply.usage
    if type(usage) ~= "table" then
        return false
    end
    ctx.prompt_tokens = usage.prompt_tokens
    ctx.completion_tokens = usage.completion_tokens
    ctx.total_tokens = usage.total_tokens
    return true
end

-- An event with its empty line. Whether the client gets it.
local function read_event(ctx, event)
    if sub(event, 1, 6) ~= "data: " or not (gateway.decodes_all or find(event, '"usage"', 1, true)) then
        return true
    end
    local data = sub(event, 7, -3)
    if data == "[DONE]" then
        return true
    end
    local reply = cjson.decode(data)
    return not (take_usage(ctx, reply) and ctx.strips and #reply.choices == 0)
end

function gateway.body_filter()
    local ctx = ngx.ctx
    if not ctx.scopes then
        return
    end
    local chunk, last = ngx.arg[1], ngx.arg[2]
    if not ctx.stream then
        ctx.parts = ctx.parts or {}
        ctx.parts[#ctx.parts + 1] = chunk
        if last then
            take_usage(ctx, cjson.decode(table.concat(ctx.parts)))
        end
        return
    end
    local text = ctx.rest and ctx.rest .. chunk or chunk
    local out, at = {}, 1
    while true do
        local _, stop = find(text, "\n\n", at, true)
        if not stop then
            break
        end
        local event = sub(text, at, stop)
        if read_event(ctx, event) then
            out[#out + 1] = event
        end
        at = stop + 1
    end
    ctx.rest = at <= #text and sub(text, at) or nil
    if last and ctx.rest then
        out[#out + 1] = ctx.rest
    end
    ngx.arg[1] = table.concat(out)
end

function gateway.log()
    local ctx, var = ngx.ctx, ngx.var
    if not ctx.scopes then
        return
    end
    release(ctx)
    local total = ctx.total_tokens or 0
    var.bench_prompt_tokens = ctx.prompt_tokens or ""
    var.bench_completion_tokens = ctx.completion_tokens or ""
    for _, scope in ipairs(ctx.scopes) do
        counters:incr(scope .. ":tokens:" .. ctx.minute, total, 0, 120)
        counters:incr(scope .. ":quota:" .. ctx.month, total, 0, 32 * 86400)
    end
end

return gateway
