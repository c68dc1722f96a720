// A request's body must say the same in any pieces, and be faulty in all or in none.
#include "core/request_facts.h"

#include "pieces.h"

#include <cstdlib>
#include <string>

namespace {

using namespace llm;

std::string told(std::string_view text, uint32_t seed)
{
    request_facts facts;
    in_pieces(text, seed, [&](std::string_view piece) {
        if (facts.feed(piece) != (facts.fault() == body_fault::none))
            abort();
    });
    const body_fault fault = facts.finish();
    if (facts.bytes() != text.size() || fault != facts.fault() || facts.choices() == 0
        || facts.prompts() == 0)
        abort();
    if (fault != body_fault::none)
        return "fault " + std::to_string(int(fault));
    std::string log(facts.model());
    for (const uint64_t n :
         {uint64_t{facts.has_model()}, uint64_t{facts.may_stream()}, uint64_t(facts.max_tokens().is),
          facts.max_tokens().value, uint64_t{facts.choices()}, uint64_t{facts.prompts()},
          uint64_t{facts.has_stream_options()}, uint64_t{facts.has_include_usage()}})
        log += ' ' + std::to_string(n);
    return log;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string whole = told(text, whole_piece);
    if (told(text, byte_pieces) != whole || told(text, piece_seed(text)) != whole)
        abort();
    return 0;
}
