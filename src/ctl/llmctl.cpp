// llmctl: checks key files and makes keys.
//
// Exit codes: 0 well, 1 the key file is wrong, 2 wrong use or a failure of the system.

#include "keys/key_file.h"
#include "keys/secret_text.h"
#include "keys/sha256.h"

#include <cstdio>
#include <cstring>
#include <ctime>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string>
#include <string_view>
#include <termios.h>
#include <unistd.h>

namespace {

constexpr int wrong_file = 1;
constexpr int failed = 2;

constexpr char help[] =
    "usage:\n"
    "  llmctl check FILE         check a key file\n"
    "  llmctl new NAME [USER]    make a key: prints it (once) and its record for the key file\n"
    "  llmctl hash               read a key from the first line of stdin, print its SHA-256\n";

int fail(const char* what)
{
    fprintf(stderr, "llmctl: %s\n", what);
    return failed;
}

int check(const char* path)
{
    llm::key_file file;
    if (const auto error = llm::load_key_file(path, file)) {
        if (error->line == 0) {
            fprintf(stderr, "%s: %s\n", path, error->text.c_str());
            return failed;
        }
        fprintf(stderr, "%s:%u:%u: %s\n", path, error->line, error->column, error->text.c_str());
        return wrong_file;
    }
    size_t disabled = 0, expired = 0;
    const int64_t now = time(nullptr);
    for (const llm::key_record& key : file.keys) {
        disabled += !key.enabled;
        expired += key.expires != 0 && key.expires <= now;
    }
    const size_t keys = file.keys.size(), policies = file.policies.size() - 1;
    printf("%s: %zu key%s (%zu disabled, %zu expired), %zu different polic%s\n", path, keys,
           keys == 1 ? "" : "s", disabled, expired, policies, policies == 1 ? "y" : "ies");
    if (!file.not_in_force.empty()) {
        printf("%s: note: %s\n", path, file.not_in_force.c_str());
    }
    return 0;
}

std::string json_string(std::string_view text)
{
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        result += c;
    }
    return result + '"';
}

// 43 characters of base64url, without padding, for 32 bytes.
std::string base64url(const unsigned char (&bytes)[32])
{
    static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string text;
    unsigned window = 0;
    int bits = 0;
    for (const unsigned char byte : bytes) {
        window = window << 8 | byte;
        for (bits += 8; bits >= 6; bits -= 6) {
            text += digits[window >> (bits - 6) & 63];
        }
    }
    text += digits[window << (6 - bits) & 63];
    return text;
}

int make_key(const char* name, const char* user)
{
    llm::digest digest;
    unsigned char bytes[32];
    if (RAND_bytes(bytes, sizeof bytes) != 1) {
        return fail("OpenSSL has no random bytes");
    }
    const std::string key = "sk-" + base64url(bytes);
    if (!llm::sha256(key, digest)) {
        return fail("OpenSSL has no SHA-256");
    }
    std::string record = "{ \"name\": " + json_string(name);
    if (user) {
        record += ", \"user\": " + json_string(user);
    }
    record += ", \"sha256\": \"" + llm::to_hex(digest) + "\" }";
    llm::key_file file;
    if (const auto error = llm::parse_key_file("{\"keys\":[" + record + "]}", file)) {
        return fail(error->text.c_str());
    }
    // Apart, so that `llmctl new ... >> records` keeps the key itself out of the file.
    fprintf(stderr, "key (not shown again): %s\n", key.c_str());
    printf("%s\n", record.c_str());
    return 0;
}

// Turns the terminal's echo off while it lives, if stdin is one.
class silent_terminal {
public:
    silent_terminal() : active(tcgetattr(STDIN_FILENO, &before) == 0)
    {
        if (active) {
            termios silent = before;
            silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
            fprintf(stderr, "key: ");
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        }
    }
    ~silent_terminal()
    {
        if (active) {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
            fprintf(stderr, "\n");
        }
    }

private:
    termios before;
    bool active;
};

int hash_key()
{
    // A key has 512 bytes at most; room for "\r\n" and the end, and one to see that it is too long.
    char line[516];
    setvbuf(stdin, nullptr, _IONBF, 0);
    {
        const silent_terminal silent;
        if (!fgets(line, sizeof line, stdin)) {
            return fail("no key on stdin");
        }
    }
    const std::string_view key(line, strcspn(line, "\r\n"));
    const bool valid = llm::is_secret(key);
    llm::digest digest;
    const bool hashed = valid && llm::sha256(key, digest);
    OPENSSL_cleanse(line, sizeof line);
    if (!valid) {
        return fail("a key has 1 to 512 visible ASCII characters without spaces");
    }
    if (!hashed) {
        return fail("OpenSSL has no SHA-256");
    }
    printf("%s\n", llm::to_hex(digest).c_str());
    return 0;
}

} // namespace

int main(int count, char** words)
{
    const std::string_view command = count > 1 ? words[1] : "";
    int result = failed;
    if (command == "check" && count == 3) {
        result = check(words[2]);
    } else if (command == "new" && (count == 3 || count == 4)) {
        result = make_key(words[2], count == 4 ? words[3] : nullptr);
    } else if (command == "hash" && count == 2) {
        result = hash_key();
    } else if (command == "--help" || command == "-h" || command == "help") {
        fputs(help, stdout);
        result = 0;
    } else {
        fputs(help, stderr);
    }
    if (fflush(stdout) != 0) {
        return fail("cannot write to stdout");
    }
    return result;
}
