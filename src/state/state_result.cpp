#include "state_result.h"

namespace llm {

std::string_view state_fault_name(state_fault fault)
{
    switch (fault) {
    case state_fault::none:
        return "none";
    case state_fault::busy:
        return "busy";
    case state_fault::full:
        return "full";
    case state_fault::read_only:
        return "read_only";
    case state_fault::no_access:
        return "no_access";
    case state_fault::not_a_file:
        return "not_a_file";
    case state_fault::not_ours:
        return "not_ours";
    case state_fault::too_new:
        return "too_new";
    case state_fault::in_use:
        return "in_use";
    case state_fault::damaged:
        return "damaged";
    case state_fault::closed:
        return "closed";
    case state_fault::io:
        break;
    }
    return "io";
}

} // namespace llm
