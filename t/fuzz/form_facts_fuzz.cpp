// A form must say the same in any pieces. The first byte says how long the boundary is, which comes next.
#include "core/request/form_facts.h"

#include "pieces.h"

#include <cstdlib>
#include <string>

namespace {

using namespace llm;

void require(bool holds)
{
    if (!holds)
        abort();
}

std::string told(std::string_view boundary, std::string_view text, uint32_t seed)
{
    form_facts form(boundary);
    bool json = false;
    in_pieces(text, seed, [&](std::string_view piece) {
        if (json)
            return;
        const size_t taken = form.feed(piece);
        json = form.is() == form_facts::kind::object;
        require(json ? piece[taken] == '{' : taken == piece.size());
    });
    form.finish();
    require(json || form.bytes() == text.size());
    require(form.model().size() <= form_facts::max_model);
    require(form.has_model() || form.model().empty());
    std::string log(form.model());
    for (const uint64_t n :
         {uint64_t(form.is()), uint64_t{form.has_model()}, uint64_t{form.unclear()}, form.bytes()})
        log += ' ' + std::to_string(n);
    // A form that is clear names its model in one part, as it stands there.
    if (form.is() == form_facts::kind::form && !form.unclear() && form.has_model())
        require(text.find("\r\n\r\n" + std::string(form.model()) + "\r\n--" + std::string(boundary))
                != text.npos);
    return log;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.empty())
        return 0;
    const size_t length = static_cast<uint8_t>(text[0]) % 80;
    text.remove_prefix(1);
    // As in a header: also what the module would not take for a boundary is read from a type.
    const std::string type = "multipart/form-data; boundary=" + std::string(text.substr(0, length));
    text.remove_prefix(length < text.size() ? length : text.size());
    const std::string_view boundary = form_boundary(type);
    const std::string whole = told(boundary, text, whole_piece);
    if (told(boundary, text, byte_pieces) != whole || told(boundary, text, piece_seed(text)) != whole)
        abort();
    return 0;
}
