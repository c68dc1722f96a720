#include "new_key.h"

#include "exit_code.h"
#include "json_text_writer.h"
#include "keys/key_file.h"
#include "keys/sha256.h"
#include "secret.h"

#include <cstdio>

namespace llm::ctl {

int run_new(const arguments& given, output& out)
{
    secret key;
    digest hashed;
    if (!key.make()) {
        return out.fail("OpenSSL has no random bytes");
    }
    if (!key.hash(hashed)) {
        return out.fail("OpenSSL has no SHA-256");
    }
    std::string record = "{ \"name\": " + json_quoted(given.words()[0]);
    if (given.words().size() > 1) {
        record += ", \"user\": " + json_quoted(given.words()[1]);
    }
    record += ", \"sha256\": \"" + to_hex(hashed) + "\" }";
    key_file file;
    if (const auto error = parse_key_file("{\"keys\":[" + record + "]}", file)) {
        return out.fail(error->text);
    }
    if (out.json()) {
        out.put("{\"key\":" + json_quoted(key.text()) + ",\"record\":" + record + "}\n");
        return exit_well;
    }
    // Apart, so that `llmctl new ... >> records` keeps the key itself out of the file.
    fprintf(stderr, "key (not shown again): %.*s\n", static_cast<int>(key.text().size()), key.text().data());
    out.line(record);
    return exit_well;
}

int run_hash(const arguments&, output& out)
{
    secret key;
    digest hashed;
    if (const auto error = key.read_stdin()) {
        return out.fail(*error);
    }
    if (!key.hash(hashed)) {
        return out.fail("OpenSSL has no SHA-256");
    }
    out.line(out.json() ? "{\"sha256\":\"" + to_hex(hashed) + "\"}" : to_hex(hashed));
    return exit_well;
}

} // namespace llm::ctl
