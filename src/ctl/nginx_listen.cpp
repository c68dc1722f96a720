#include "nginx_listen.h"

#include "core/base/chars.h"

#include <algorithm>

namespace llm::ctl {

namespace {

struct listener {
    std::string host;   // "*" for all of IPv4, "[::]" for all of IPv6
    std::string port;   // empty: a unix socket
    std::string socket; // its path
    bool tls = false;
    bool is_default = false;

    bool is_same(const listener& other) const
    {
        return host == other.host && port == other.port && socket == other.socket;
    }
};

bool has_word(const directive& in, std::string_view word)
{
    return std::find(in.words.begin() + 1, in.words.end(), word) != in.words.end();
}

// A `listen`. Nothing for one that curl cannot speak to without more.
std::optional<listener> read_listen(const directive& listen)
{
    static constexpr std::string_view unix_scheme = "unix:";
    if (listen.words.size() < 2 || has_word(listen, "quic") || has_word(listen, "udp")
        || has_word(listen, "proxy_protocol")) {
        return std::nullopt;
    }
    listener made;
    made.tls = has_word(listen, "ssl");
    made.is_default = has_word(listen, "default_server") || has_word(listen, "default");
    // "80", "1.2.3.4", "1.2.3.4:80", "[::]:80", "*:80", "name", "8000-8010"
    const std::string& on = listen.words[1];
    if (on.starts_with(unix_scheme)) {
        made.socket = on.substr(unix_scheme.size());
        return made;
    }
    const size_t colon = on.rfind(':');
    const bool has_port = colon != std::string::npos && !on.ends_with(']');
    const bool is_port = std::all_of(on.begin(), on.end(), [](char c) { return is_digit(c) || c == '-'; });
    made.host = is_port ? "*" : on.substr(0, has_port ? colon : on.size());
    made.port = is_port ? on : has_port ? on.substr(colon + 1) : "80";
    made.port.resize(std::min(made.port.find('-'), made.port.size()));
    if (made.host == "0.0.0.0") {
        made.host = "*";
    }
    return made;
}

std::vector<listener> listeners_of(const directive& server)
{
    std::vector<listener> all;
    bool has_any = false, tls = false;
    for (const directive& each : server.block) {
        tls |= each.words[0] == "ssl" && has_word(each, "on");
        if (each.words[0] != "listen") {
            continue;
        }
        has_any = true;
        if (auto made = read_listen(each)) {
            all.push_back(std::move(*made));
        }
    }
    if (!has_any) {
        all.push_back({.host = "*", .port = "80", .socket = ""});
    }
    for (listener& each : all) {
        each.tls |= tls;
    }
    return all;
}

std::vector<std::string> names_of(const directive& server)
{
    std::vector<std::string> names;
    for (const directive& each : server.block) {
        if (each.words[0] == "server_name") {
            names.insert(names.end(), each.words.begin() + 1, each.words.end());
        }
    }
    return names;
}

bool is_hostname(std::string_view name)
{
    return !name.empty() && name != "_" && name[0] != '.'
           && std::all_of(name.begin(), name.end(), [](char c) {
                  return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '.'
                         || c == '-' || c == '_';
              });
}

// Names by which a server may be asked for. For ".example.com" and "*.example.com" there are many.
std::vector<std::string> hostnames_of(const directive& server)
{
    std::vector<std::string> names;
    for (const std::string& each : names_of(server)) {
        const std::string name = each.starts_with("*.")  ? "llm" + each.substr(1)
                                 : each.starts_with(".") ? each.substr(1)
                                                         : each;
        if (is_hostname(name)) {
            names.push_back(name);
        }
    }
    return names;
}

// How well a server_name fits. 0: not; a pattern of which nothing is known here does not.
size_t fit(std::string_view pattern, std::string_view name)
{
    if (pattern == name) {
        return SIZE_MAX;
    }
    const bool dot = pattern.starts_with('.');
    if (!dot && !pattern.starts_with("*.")) {
        return 0;
    }
    const std::string_view end = pattern.substr(dot ? 0 : 1);
    return name.ends_with(end) ? end.size() : dot && name == end.substr(1) ? SIZE_MAX : 0;
}

// An address of this machine at which nginx listens there.
std::string near_host(const listener& at)
{
    return at.host == "*" ? "127.0.0.1" : at.host == "[::]" ? "[::1]" : at.host;
}

// Those that listen where a connection to this listener arrives: nginx prefers an address to all addresses.
// Each is with the word whether it is the default there.
using at_address = std::vector<std::pair<const directive*, bool>>;

at_address arrivals(std::span<const directive* const> servers, const listener& at)
{
    listener near = at;
    near.host = at.socket.empty() ? near_host(at) : "";
    at_address exact, same;
    for (const directive* each : servers) {
        for (const listener& one : listeners_of(*each)) {
            if (one.is_same(near)) {
                exact.emplace_back(each, one.is_default);
            } else if (one.is_same(at)) {
                same.emplace_back(each, one.is_default);
            }
        }
    }
    return exact.empty() ? same : exact;
}

// Whom nginx takes of them for this name.
const directive* taken(const at_address& all, std::string_view name)
{
    const directive* found = nullptr;
    const directive* fallback = nullptr;
    size_t best = 0;
    for (const auto& [server, is_default] : all) {
        if (!fallback || is_default) {
            fallback = server;
        }
        for (const std::string& pattern : names_of(*server)) {
            if (const size_t fits = fit(pattern, name); fits > best) {
                found = server;
                best = fits;
            }
        }
    }
    return found ? found : fallback;
}

std::string scheme_of(const listener& at)
{
    return at.tls ? "https://" : "http://";
}

std::string port_of(const listener& at)
{
    return at.port.empty() || at.port == (at.tls ? "443" : "80") ? "" : ":" + at.port;
}

std::optional<way_to_server> find_way(std::span<const directive* const> servers, const directive& server,
                                      const listener& at)
{
    const at_address all = arrivals(servers, at);
    const std::string host = at.socket.empty() ? near_host(at) : "localhost";
    std::vector<std::string> options;
    if (!at.socket.empty()) {
        options = {"--unix-socket", at.socket};
    }
    if (!at.tls && taken(all, host) == &server) {
        return way_to_server{options, scheme_of(at) + host + port_of(at)};
    }
    // A certificate is for a name. The name may lead elsewhere, or nowhere yet.
    const bool is_address = host.starts_with('[') || (!host.empty() && is_digit(host[0]));
    for (const std::string& name : hostnames_of(server)) {
        if (taken(all, name) == &server && (is_address || !options.empty())) {
            if (options.empty()) {
                options = {"--resolve", name + ':' + at.port + ':' + host};
            }
            return way_to_server{options, scheme_of(at) + name + port_of(at)};
        }
    }
    if (at.tls && taken(all, host) == &server) {
        options.emplace_back("-k"); // no certificate is for an address
        return way_to_server{options, scheme_of(at) + host + port_of(at)};
    }
    return std::nullopt;
}

} // namespace

std::string address_of(const directive& server)
{
    const std::vector<std::string> names = names_of(server);
    std::string address;
    for (const listener& each : listeners_of(server)) {
        if (!each.socket.empty()) {
            continue;
        }
        const bool is_all = each.host == "*" || each.host == "[::]";
        const std::string host =
            each.tls && is_all && !names.empty() && is_hostname(names[0]) ? names[0] : near_host(each);
        address = scheme_of(each) + host + port_of(each);
        // Without TLS it is simpler to try.
        if (!each.tls) {
            return address;
        }
    }
    return address;
}

std::optional<way_to_server> find_way(std::span<const directive* const> servers, const directive& server)
{
    std::vector<listener> all = listeners_of(server);
    std::stable_partition(all.begin(), all.end(), [](const listener& each) { return !each.tls; });
    std::stable_partition(all.begin(), all.end(), [](const listener& each) { return each.socket.empty(); });
    for (const listener& each : all) {
        if (auto way = find_way(servers, server, each)) {
            return way;
        }
    }
    return std::nullopt;
}

} // namespace llm::ctl
