// What to do about a problem of the policy's files.
#include "policy/policy_decode.h"

namespace carrel::policy_decode {
namespace {

// Those that say themselves what must be are not here.
constexpr std::pair<const char*, const char*> kRemedies[] = {
    {"unknown key", "Remove it, or correct its name"},
    {"is required", "Add it"},
    {"is not a name", "Use letters, digits, \"_\", \".\" and \"-\""},
    {"of another project too", "Change one of the two"},
    {"belongs to another project", "Remove it from one of the two"},
    {"belongs to two tools", "Remove it from one of the two"},
    {"is not a project", "Add the project there, or correct the name"},
    {"is there twice", "Remove one"},
    {"appears twice", "Remove one of the two"},
    {"there is no role", "Add it to /roles, or correct the name"},
    {"there is no such role", "Add it to /roles, or correct the name"},
    {"there is no check", "Correct the name"},
    {"unknown kind", "Correct it: schemas/ lists what there is"},
    {"unknown log", "Correct it: schemas/ lists what there is"},
    {"unknown level", "Correct it: schemas/ lists what there is"},
    {"is before date", "Correct one of the two dates"},
    {"is missing from", "Add the file"},
    {"is not a file that", "Remove it, or correct its name"},
    {"is not the name of an image", "Correct it"},
    {"is not a tag", "Correct it"},
    {"bad name", "Use letters, digits and \"_\""},
    {"longer than", "Shorten it"},
    {"control character", "Remove it"},
    {"not valid JSON", "Correct the text there"},
};

std::string WithRemedy(const std::string& problem) {
  for (const auto& [part, remedy] : kRemedies)
    if (problem.find(part) != problem.npos) return problem + ". " + remedy;
  return problem;
}

}  // namespace

void Problems::Add(const std::string& entry, const std::string& what) {
  all_.push_back(WithRemedy(entry + ": " + what));
}

void Problems::Take(const std::string& file, const Result<void>& result) {
  if (result) return;
  const std::string text = result.error().ToString();
  // Each begins with its pointer.
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find("; /", start), text.size());
    all_.push_back(WithRemedy(file + ": " + text.substr(start, end - start)));
    start = end + 2;
  }
}

}  // namespace carrel::policy_decode
