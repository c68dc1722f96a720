#include "first_request.h"

#include "core/base/chars.h"
#include "core/shared/key_table.h"
#include "json_text_writer.h"
#include "key_place.h"
#include "nginx_listen.h"
#include "nginx_location.h"

#include <algorithm>

namespace llm::ctl {

namespace {

// A request that every server of an API answers. `%` is the model, in JSON or in the path.
struct sample {
    std::string_view path;
    std::string_view key_header; // with what stands before the key
    std::string_view more;       // options of curl
    std::string_view body;       // empty: GET
};

constexpr std::string_view bearer = "Authorization: Bearer ";

// In this order: whoever has several of them is likely to want the first.
constexpr sample samples[] = {
    {"/v1/chat/completions", bearer, "",
     R"({"model": %, "messages": [{"role": "user", "content": "Hello"}]})"},
    {"/v1/messages", "x-api-key: ", "-H 'anthropic-version: 2023-06-01'",
     R"({"model": %, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]})"},
    {"/v1/responses", bearer, "", R"({"model": %, "input": "Hello"})"},
    {"/api/chat", bearer, "",
     R"({"model": %, "stream": false, "messages": [{"role": "user", "content": "Hello"}]})"},
    {"/openai/deployments/%/chat/completions?api-version=2024-10-21", "api-key: ", "",
     R"({"messages": [{"role": "user", "content": "Hello"}]})"},
    {"/v1beta/models/%:generateContent", "x-goog-api-key: ", "",
     R"({"contents": [{"parts": [{"text": "Hello"}]}]})"},
    {"/v1/completions", bearer, "", R"({"model": %, "max_tokens": 100, "prompt": "Hello"})"},
    {"/v1/embeddings", bearer, "", R"({"model": %, "input": "Hello"})"},
};

// What tells the owner of a key about it, where nothing else is known.
constexpr sample of_usage = {"", bearer, "", ""};

// Where a sample can be asked for.
struct place {
    const sample* what = nullptr;
    std::string path;
    conf_blocks blocks; // http, server, locations
    way_to_server way;
};

std::string shell_word(std::string_view word)
{
    const auto is_plain = [](char c) {
        return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z')
               || std::string_view("-._/:,@%+=").find(c) != std::string_view::npos;
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) {
        return std::string(word);
    }
    std::string quoted = "'";
    for (const char c : word) {
        quoted += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return quoted + '\'';
}

// A name that is none for a pattern, and can stand within the quotes of a shell and in a path.
bool is_simple(std::string_view name)
{
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return c > ' ' && c < 0x7f && std::string_view("*'\"\\$?#%").find(c) == std::string_view::npos;
    });
}

// What comes behind it is the name of a model, whatever it looks like.
bool is_before_model(std::string_view start)
{
    return start.ends_with("/deployments/") || start.ends_with("/models/") || start.ends_with("/engines/");
}

// `path` behind `start`, of which it may be a part: "/ai/v1/" and "/v1/messages" are "/ai/v1/messages".
std::string joined(std::string_view start, std::string_view path)
{
    size_t common = std::min(start.size(), path.size());
    while (!start.ends_with(path.substr(0, common))) {
        common--;
    }
    return std::string(start) + std::string(path.substr(common));
}

bool passes_on(const directive& in)
{
    return std::any_of(in.block.begin(), in.block.end(), [](const directive& each) {
        const std::string& name = each.words[0];
        return name == "proxy_pass" || name == "grpc_pass" || (name == "if" && passes_on(each));
    });
}

bool has_own(const directive& in, std::string_view name)
{
    return std::any_of(in.block.begin(), in.block.end(),
                       [&](const directive& each) { return each.words[0] == name; });
}

class place_finder {
public:
    // `any_keys`: also places for keys of other files.
    place_finder(const nginx_conf& conf, const std::string& key_file, bool any_keys)
        : conf_(conf), key_file_(key_file), any_keys_(any_keys)
    {
        conf.each("server", [&](const directive& server, std::span<const directive* const> in) {
            if (in.size() == 1 && in[0]->words[0] == "http") {
                http_ = in[0];
                servers_.push_back(&server);
            }
        });
    }

    std::optional<place> find() const
    {
        for (const sample& each : samples) {
            for (const directive* server : servers_) {
                std::vector<std::string> starts = path_starts(*server);
                starts.insert(starts.begin(), "/");
                for (const std::string& start : starts) {
                    if (is_before_model(start) && each.path.find(start) == std::string_view::npos) {
                        continue;
                    }
                    if (auto found = look(each, *server, joined(start, each.path))) {
                        return found;
                    }
                }
            }
        }
        for (const directive* server : servers_) {
            for (const std::string& start : path_starts(*server)) {
                if (auto found = look(of_usage, *server, start)) {
                    return found;
                }
            }
        }
        return std::nullopt;
    }

private:
    std::optional<place> look(const sample& what, const directive& server, std::string path) const
    {
        std::string plain = path.substr(0, path.find('?'));
        std::replace(plain.begin(), plain.end(), '%', 'm');
        conf_blocks blocks = find_location(server, plain);
        if (blocks.empty() || has_own(*blocks.back(), "internal") || has_own(*blocks.back(), "return")
            || !(what.body.empty() ? has_own(*blocks.back(), "llm_usage") : passes_on(*blocks.back()))) {
            return std::nullopt;
        }
        blocks.insert(blocks.begin(), {http_, &server});
        const directive* keys = in_force(blocks, "llm_api_keys");
        if (!keys || keys->words.size() < 2 || keys->words[1] == "off"
            || !(any_keys_ || is_same_file(conf_.full_path(keys->words[1]), key_file_))) {
            return std::nullopt;
        }
        auto way = find_way(servers_, server);
        return way ? std::optional(place{&what, std::move(path), std::move(blocks), std::move(*way)})
                   : std::nullopt;
    }

    const nginx_conf& conf_;
    const std::string& key_file_;
    const bool any_keys_;
    const directive* http_ = nullptr;
    std::vector<const directive*> servers_;
};

std::optional<place> find_place(const nginx_conf* conf, const std::string& key_file)
{
    if (!conf) {
        return std::nullopt;
    }
    auto found = place_finder(*conf, key_file, false).find();
    return found ? found : place_finder(*conf, key_file, true).find();
}

// The rows of the innermost block that has some.
std::vector<const directive*> model_rows(const conf_blocks& blocks)
{
    std::vector<const directive*> rows;
    for (auto block = blocks.rbegin(); block != blocks.rend() && rows.empty(); ++block) {
        for (const directive& each : (*block)->block) {
            if (each.words[0] == "llm_model" && each.words.size() > 1) {
                rows.push_back(&each);
            }
        }
    }
    return rows;
}

// A model that the key may use and the table has, if there is one; empty if none is known. One that is paid
// for its prompt alone makes no text.
std::string known_model(const std::vector<std::string>& allowed, const conf_blocks& blocks)
{
    const std::vector<const directive*> rows = model_rows(blocks);
    const auto fits = [](const auto& patterns, const std::string& name, auto text_of) {
        return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const auto& each) {
                   return glob_match(text_of(each), name);
               });
    };
    const auto of_row = [](const directive* row) { return std::string_view(row->words[1]); };
    const auto itself = [](const std::string& name) { return std::string_view(name); };
    for (const std::string& each : allowed) {
        if (is_simple(each) && fits(rows, each, of_row)) {
            return each;
        }
    }
    for (const directive* row : rows) {
        const std::vector<std::string>& words = row->words;
        if (is_simple(words[1]) && fits(allowed, words[1], itself)
            && std::find(words.begin(), words.end(), "completion=0") == words.end()) {
            return words[1];
        }
    }
    return {};
}

std::string filled(std::string_view text, const std::string& model)
{
    const size_t at = text.find('%');
    return at == std::string_view::npos
               ? std::string(text)
               : std::string(text.substr(0, at)) + model + std::string(text.substr(at + 1));
}

// Options by which nginx knows that the request is the key's: the secret, or what gives its name. Nothing if
// that cannot be told.
std::optional<std::string> credentials(const sample& what, const conf_blocks& blocks, const key_record& key)
{
    if (!key.digests.empty()) {
        const directive* password = in_force(blocks, "auth_basic");
        const bool asks = password && password->words.size() > 1 && password->words[1] != "off"
                          && password->words[1].find('$') == std::string::npos;
        // There is one header Authorization, which the password takes.
        return (asks ? "-u " + shell_word(key.name) + ' ' : "") + "-H \""
               + (asks && what.key_header == bearer ? "x-api-key: " : std::string(what.key_header))
               + "$KEY\"";
    }
    const directive* keys = in_force(blocks, "llm_api_keys");
    for (const std::string& word : keys ? keys->words : std::vector<std::string>()) {
        if (word == "identity=" + key.name) {
            return "";
        }
        if (word == "identity=$remote_user") {
            return "-u " + shell_word(key.name); // it asks for the password
        }
    }
    return std::nullopt;
}

void add_word(std::string& line, const std::string& word)
{
    if (!word.empty()) {
        line += ' ' + word;
    }
}

std::string line_of(const place& at, const std::string& given, const std::string& model)
{
    std::string line = "curl";
    for (const std::string& each : at.way.options) {
        add_word(line, shell_word(each));
    }
    add_word(line, shell_word(at.way.url + filled(at.path, model)));
    add_word(line, given);
    add_word(line, std::string(at.what->more));
    if (!at.what->body.empty()) {
        line +=
            " -H 'Content-Type: application/json' -d '" + filled(at.what->body, json_quoted(model)) + '\'';
    }
    return line;
}

const place usual = {&samples[0], std::string(samples[0].path), {}, {{}, "http://127.0.0.1:8080"}};

} // namespace

std::string curl_line(const nginx_conf* conf, const std::string& key_file, const key_record& key,
                      const key_policy& policy)
{
    const place at = find_place(conf, key_file).value_or(usual);
    const auto given = credentials(*at.what, at.blocks, key);
    if (!given) {
        return {};
    }
    const std::string model = known_model(policy.models, at.blocks);
    return line_of(at, *given, model.empty() ? "MODEL" : model);
}

} // namespace llm::ctl
