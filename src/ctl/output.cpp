#include "output.h"

#include "exit_code.h"
#include "json_text_writer.h"

#include <cstdio>
#include <cstring>
#include <openssl/crypto.h>

namespace llm::ctl {

void output::line(std::string_view text)
{
    put(text);
    put("\n");
}

bool output::flush()
{
    const bool written = fwrite(text_.data(), 1, text_.size(), stdout) == text_.size() && fflush(stdout) == 0;
    // It may have had a secret.
    OPENSSL_cleanse(text_.data(), text_.size());
    text_.clear();
    return written;
}

int output::wrong(std::string_view message)
{
    say("error", message);
    return exit_wrong;
}

int output::fail(std::string_view message)
{
    say("error", message);
    return exit_failed;
}

int output::fail_system(std::string_view what, int code)
{
    return fail(std::string(what) + ": " + strerror(code));
}

void output::hint(std::string_view message)
{
    if (!json_) {
        fprintf(stderr, "# %s\n", printable(message).c_str());
    }
}

void output::warn(std::string_view message)
{
    say("warning", message);
}

void output::say(const char* kind, std::string_view message)
{
    std::string text;
    if (json_) {
        json_text_writer json(text);
        json.begin_object();
        json.name(kind);
        json.begin_object();
        json.field("message", message);
        json.end_object();
        json.end_object();
    } else {
        text = (strcmp(kind, "error") == 0 ? "llmctl: " : "llmctl: warning: ") + printable(message);
    }
    fprintf(stderr, "%s\n", text.c_str());
}

} // namespace llm::ctl
