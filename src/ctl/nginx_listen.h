// Where the servers of nginx's configuration are reached.
#pragma once

#include "nginx_conf.h"

namespace llm::ctl {

// "http://127.0.0.1:8080": where a server of the configuration listens. Empty for what is no TCP socket.
std::string address_of(const directive& server);

// How curl comes to a server from this machine.
struct way_to_server {
    std::vector<std::string> options; // of curl
    std::string url;                  // without a path
};

// A way on which nginx takes this one of its `servers` (all of them, in their order). Without TLS if it has
// such a way, since that is simpler to try. Nothing if there is none that is known to lead there.
std::optional<way_to_server> find_way(std::span<const directive* const> servers, const directive& server);

} // namespace llm::ctl
