// Which environment variables a job and a tool of the policy may set.
#pragma once

#include <string>

namespace carrel {

/// Variables that carrel, the gateway or the loader inside own. A job that sets one would choose
/// its own database, credentials or library.
bool IsReservedVariable(const std::string& name);

/// Variables that make the tool load other code, or its client connect in another way: beside a
/// database the study's own code must not run in the tool's process.
bool IsReservedBesideADatabase(const std::string& name);

/// What a decision gives by a grant, or holds whatever the policy's files say: no variable for a
/// tool of the policy to have, or not with this value.
bool IsReservedForTools(const std::string& name, const std::string& value);

}  // namespace carrel
