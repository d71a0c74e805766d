// What the policy says of a container. Docker's call tells less than a job definition: the
// workspace is the agent's label, the user is the configuration's, and the code is whatever the
// agent put into the bind.
#pragma once

#include <string>

#include "image/image_store.h"
#include "oci/docker_run.h"
#include "policy/decide.h"

namespace carrel {

/// Variables of the agent's that hold its own access to a database, or that carrel sets itself: an
/// action never gets them.
bool IsReplacedVariable(const std::string& name);

/// Decides as for a job. A network other than "none" asks for its database; without one the
/// decision only says what the record is to say. kRefused for a network that the configuration
/// doesn't know, and for what a container with a database may not have beside it.
Result<Decision> DecideContainer(const HostConfig& host, const DockerRunOptions& options,
                                 const Image& image);

/// A refusal is a result too: its audit log and its public record; and where the container was to
/// run by itself, one that has ended, as docker keeps one that it could not start. The agent takes
/// it for a job that failed, whose log says why, and does not ask again each second.
Result<void> RecordRefusal(const HostConfig& host, const DockerRunOptions& options,
                           const Image& image, const Decision& decision, const Error& error);

}  // namespace carrel
