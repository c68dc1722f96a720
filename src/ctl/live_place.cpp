#include "live_place.h"

#include "nginx_listen.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <openssl/crypto.h>

namespace llm::ctl {

namespace {

constexpr const char* usual_url = "http://127.0.0.1:8080/llm/admin/";
constexpr std::string_view unix_scheme = "unix:";

// "http://…", or as nginx spells it: "unix:/run/nginx.sock:/llm/admin/".
bool take_url(std::string_view url, live_place& to)
{
    std::string path(url);
    if (url.starts_with(unix_scheme)) {
        url.remove_prefix(unix_scheme.size());
        const size_t colon = url.find(':');
        if (colon == std::string_view::npos || colon == 0) {
            return false;
        }
        to.unix_socket = url.substr(0, colon);
        path = "http://localhost" + std::string(url.substr(colon + 1));
    }
    if (!path.starts_with("http://") && !path.starts_with("https://")) {
        return false;
    }
    to.url = path.ends_with('/') ? path : path + '/';
    return true;
}

std::string unix_address_of(const directive& server)
{
    for (const directive& each : server.block) {
        if (each.words[0] == "listen" && each.words.size() > 1 && each.words[1].starts_with(unix_scheme)) {
            return each.words[1] + ':';
        }
    }
    return {};
}

std::string configured_url()
{
    std::string why, url;
    const auto conf = nginx_conf::load(why);
    if (!conf) {
        return url;
    }
    conf->each("llm_admin", [&](const directive&, std::span<const directive* const> in) {
        const auto server =
            std::find_if(in.begin(), in.end(), [](const directive* d) { return d->words[0] == "server"; });
        if (!url.empty() || server == in.end() || in.back()->words[0] != "location") {
            return;
        }
        std::string address = address_of(**server);
        address = address.empty() ? unix_address_of(**server) : address;
        if (!address.empty()) {
            url = address + in.back()->words.back();
        }
    });
    return url;
}

// The first line of a file, without what an editor may leave at its end.
std::optional<std::string> read_key(const std::string& path, std::string& to)
{
    const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "re"), fclose);
    char line[1024];
    if (!file || !fgets(line, sizeof line, file.get())) {
        return "cannot read the key in " + path + ": " + (file ? "it is empty" : strerror(errno));
    }
    to.assign(line, strcspn(line, " \t\r\n"));
    OPENSSL_cleanse(line, sizeof line);
    if (to.empty()) {
        return "the first line of " + path + " is no key";
    }
    return std::nullopt;
}

} // namespace

live_place::~live_place()
{
    OPENSSL_cleanse(key.data(), key.size());
}

std::string live_place::shown() const
{
    constexpr size_t host = sizeof("http://localhost") - 1;
    return unix_socket.empty() ? url : std::string(unix_scheme) + unix_socket + ':' + url.substr(host);
}

std::optional<std::string> find_live_place(const arguments& given, live_place& to)
{
    const char* const from_environment = getenv("LLM_ADMIN");
    std::string url(given.value("--url").value_or(from_environment ? from_environment : ""));
    if (url.empty()) {
        url = configured_url();
    }
    if (!take_url(url.empty() ? usual_url : url, to)) {
        return url + " is no address: expected http://HOST:PORT/PATH/ or unix:SOCKET:/PATH/";
    }
    if (const auto file = given.value("--key-file")) {
        return read_key(std::string(*file), to.key);
    }
    if (const char* key = getenv("LLM_ADMIN_KEY")) {
        to.key = key;
    }
    if (std::any_of(to.key.begin(), to.key.end(), [](char c) { return c <= ' ' || c == 0x7f; })) {
        return "LLM_ADMIN_KEY has a character that no key has";
    }
    return std::nullopt;
}

} // namespace llm::ctl
