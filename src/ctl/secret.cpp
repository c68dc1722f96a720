#include "secret.h"

#include "keys/secret_text.h"
#include "keys/sha256.h"

#include <cstdio>
#include <cstring>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <termios.h>
#include <unistd.h>

namespace llm::ctl {

namespace {

// 43 characters of base64url, without padding, for 32 bytes.
void append_base64url(std::string& to, const unsigned char (&bytes)[32])
{
    static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned window = 0;
    int bits = 0;
    for (const unsigned char byte : bytes) {
        window = window << 8 | byte;
        for (bits += 8; bits >= 6; bits -= 6) {
            to += digits[window >> (bits - 6) & 63];
        }
    }
    to += digits[window << (6 - bits) & 63];
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

} // namespace

secret::secret()
{
    text_.reserve(max_secret);
}

secret::~secret()
{
    OPENSSL_cleanse(text_.data(), text_.capacity());
}

bool secret::make()
{
    unsigned char bytes[32];
    if (RAND_bytes(bytes, sizeof bytes) != 1) {
        return false;
    }
    text_ = "sk-";
    append_base64url(text_, bytes);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return true;
}

std::optional<std::string> secret::read_stdin()
{
    // Room for "\r\n" and the end, and one to see that it is too long.
    char line[max_secret + 4];
    setvbuf(stdin, nullptr, _IONBF, 0);
    {
        const silent_terminal silent;
        if (!fgets(line, sizeof line, stdin)) {
            return "no key on stdin";
        }
    }
    const std::string_view key(line, strcspn(line, "\r\n"));
    const bool valid = is_secret(key);
    if (valid) {
        text_ = key;
    }
    OPENSSL_cleanse(line, sizeof line);
    if (!valid) {
        return "a key has 1 to 512 visible ASCII characters without spaces";
    }
    return std::nullopt;
}

bool secret::hash(digest& out) const
{
    return sha256(text_, out);
}

} // namespace llm::ctl
