// The names of a study's actions, for the manifest: which outputs are of an action that is gone.
#pragma once

#include <optional>
#include <set>
#include <string>

namespace carrel {

/// The actions of project.yaml in a checkout of the study (a descriptor of its directory). Nothing
/// when there is none or it breaks a rule: then it is not known, and no output is marked.
std::optional<std::set<std::string>> ActionsOfCheckout(int directory);

}  // namespace carrel
