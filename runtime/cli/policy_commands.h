// `carrel policy bundle | key | sign`: a policy as one signed file.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "policy/policy.h"

namespace carrel {

/// Adds the three commands; the one that the command line names becomes `chosen`.
void AddBundleCommands(CLI::App& app, std::function<Result<int>()>& chosen);

/// The policy in a bundle, whoever signed it: for reading, not for a run.
Result<Policy> PolicyOfBundle(const std::string& file);

}  // namespace carrel
