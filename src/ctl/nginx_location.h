// Which location of nginx's configuration a request comes to, and what holds there.
#pragma once

#include "nginx_conf.h"

namespace llm::ctl {

// Blocks, outermost first.
using conf_blocks = std::vector<const directive*>;

// The location that a server takes for a path, with those that it is in. Empty if it has none. An expression
// of PCRE that is not known here fits nothing.
conf_blocks find_location(const directive& server, std::string_view path);

// With what the paths of locations begin, as far as their texts say: each once, in their order.
std::vector<std::string> path_starts(const directive& server);

// The directive that holds in the innermost of the blocks; null if there is none.
const directive* in_force(const conf_blocks& blocks, std::string_view name);

} // namespace llm::ctl
