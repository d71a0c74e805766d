#include "job/messages.h"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <map>

#include "job/patterns.h"
#include "job/utf8.h"
#include "policy/names.h"

namespace carrel {
namespace {

std::string HumanSeconds(int64_t seconds) {
  if (seconds >= 7200) return std::to_string(seconds / 3600) + " hours";
  if (seconds >= 120) return std::to_string(seconds / 60) + " minutes";
  return std::to_string(seconds) + " seconds";
}

// The exit codes that the database tools agreed on with the agent.
const std::map<int, JobMessage>& DatabaseToolMessages() {
  static const std::map<int, JobMessage> kMessages = {
      {2, {"The command has invalid arguments", "Check the action's `run` line in project.yaml"}},
      {3,
       {"A transient database error occurred, your job may run if you try it again",
        "If it keeps failing, contact tech-support"}},
      {4, {"New data is being imported into the database, please try again in a few hours", ""}},
      {5,
       {"Something went wrong with the database, please contact tech-support",
        "The action's log has the database's message"}},
      {6,
       {"The query is too complex for the database",
        "Split the dataset definition into smaller ones, or simplify its largest expressions"}},
      {10,
       {"There was an error in the dataset definition",
        "The action's log shows the line; the same error shows when you run it locally"}},
      {11,
       {"There was an error in a data file that the action reads",
        "Check that the file exists, and the columns and types that it must have"}},
      {12,
       {"The project does not have the permissions that the query needs",
        "The action's log names the table or feature; ask your co-pilot about permissions"}},
      {13,
       {"An assurance test of the dataset definition failed",
        "The action's log shows which expectation did not hold"}},
      {14,
       {"The query took too long for the database",
        "Restrict the population first, or ask tech-support about the query's plan"}},
  };
  return kMessages;
}

// What programs print when they meet the sandbox, or a mistake that cannot be made at home.
struct KnownOutput {
  const char* printed;
  const char* hint;
};

constexpr const char* kWritable =
    "An action can write to the directories of its outputs and to /tmp; all else is read-only";
constexpr const char* kNoNetwork =
    "An action has no network: what it needs must be in the study's repository, in the image or "
    "in an input";
constexpr const char* kNoLibrary =
    "The image does not have this library: use one that it has, or another image";
constexpr const char* kNoMemory =
    "The action came to its memory limit: load only the columns that it needs, or work in parts";
constexpr const char* kNoFile =
    "A file that an action reads is in the study's repository (and committed), or an output of an "
    "action that it names in `needs`";

constexpr KnownOutput kKnownOutputs[] = {
    {"Read-only file system", kWritable},
    {"No space left on device",
     "What the action wrote came to a limit: /tmp is in its memory, and its outputs have a most"},
    {"File too large", "The action wrote a file that is larger than its limit"},
    {"name resolution", kNoNetwork},
    {"Name or service not known", kNoNetwork},
    {"Could not resolve host", kNoNetwork},
    {"Network is unreachable", kNoNetwork},
    {"No module named", kNoLibrary},
    {"there is no package called", kNoLibrary},
    {"MemoryError", kNoMemory},
    {"cannot allocate", kNoMemory},
    {"Cannot allocate memory", kNoMemory},
    {"start new thread", "The action came to its limit of processes and threads"},
    {"Permission denied", kWritable},
    {"No such file or directory", kNoFile},
};

// Of several the last printed: it is what ended the action.
std::string HintOfOutput(std::string_view output) {
  const KnownOutput* found = nullptr;
  size_t last = 0;
  for (const KnownOutput& known : kKnownOutputs) {
    const size_t at = output.rfind(known.printed);
    if (at == std::string_view::npos || (found != nullptr && at <= last)) continue;
    found = &known;
    last = at;
  }
  return found == nullptr ? ""
                          : ". It says \"" + std::string(found->printed) + "\": " + found->hint;
}

std::string Lowered(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return text;
}

// True when one letter more, less, or other, or two that changed places, make `b` of `a`.
bool IsSlip(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  size_t same = 0, tail = 0;
  while (same < a.size() && a[same] == b[same]) ++same;
  while (tail < a.size() - same && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) ++tail;
  const size_t left = a.size() - same - tail, right = b.size() - same - tail;
  if (left <= 1 && right == left) return true;
  if (left == 0 && right == 1) return true;
  return left == 2 && right == 2 && a[same] == b[same + 1] && a[same + 1] == b[same];
}

// How `name` may have been meant for `pattern`; "" when it was not.
std::string WhyNear(const std::string& pattern, const std::string& name) {
  if (MatchesPattern(Lowered(pattern), Lowered(name))) return "upper and lower case count";
  if (MatchesPattern("**/" + pattern.substr(pattern.rfind('/') + 1), name))
    return "it is in another directory";
  return IsSlip(pattern, name) ? "a letter is different" : "";
}

std::string NearMisses(const std::vector<std::string>& patterns,
                       const std::vector<std::string>& made) {
  constexpr size_t kMost = 3;
  std::string text;
  size_t count = 0;
  for (const std::string& pattern : patterns)
    for (const std::string& name : made) {
      const std::string why = WhyNear(pattern, name);
      if (why.empty()) continue;
      if (++count > kMost) return text;
      text += ". Is " + MakeVisible(name) + " meant for " + MakeVisible(pattern) + "? Then " + why;
    }
  return text;
}

std::string SignalName(int number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(number);
}

std::string Listing(const std::vector<std::string>& names, size_t limit) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), limit); ++i)
    text += (i == 0 ? "" : ", ") + MakeVisible(names[i]);
  if (names.size() > limit) text += " and " + std::to_string(names.size() - limit) + " more";
  return text;
}

}  // namespace

JobMessage DescribeExit(const ExitFacts& facts) {
  if (facts.cancelled) return {"Job cancelled by user", ""};
  if (facts.oom_killed) {
    const std::string limit =
        facts.memory_limit > 0 ? " (limit was " + HumanBytes(facts.memory_limit) + ")" : "";
    return {"Job ran out of memory" + limit,
            "Load only the columns that you need, use smaller types, or work in parts"};
  }
  if (facts.timed_out) {
    const std::string limit =
        facts.time_limit_s > 0 ? " (limit was " + HumanSeconds(facts.time_limit_s) + ")" : "";
    return {"Job ran for longer than is allowed" + limit,
            "Split the action into several, or ask tech-support for a longer limit"};
  }
  if (facts.exit_code == 0) return {"Completed successfully", ""};
  if (facts.database_tool) {
    const auto found = DatabaseToolMessages().find(facts.exit_code);
    if (found != DatabaseToolMessages().end()) return found->second;
  }
  if (facts.exit_code == 137)
    return {
        "Job killed by an administrator or by the system",
        "It did not run out of memory. Run it again; if it happens again, contact tech-support"};
  if (facts.exit_code == 126)
    return {"The command could not be executed",
            "The file is not executable, or was made for another kind of machine"};
  if (facts.exit_code == 127)
    return {"The command was not found in the image",
            "Check the action's `run` line in project.yaml"};
  if (facts.exit_code > 128 && facts.exit_code <= 128 + 64)
    return {"Job was ended by " + SignalName(facts.exit_code - 128),
            "The end of the action's log may say why"};
  return {"Job exited with an error", "The end of the action's log shows it; the exit code was " +
                                          std::to_string(facts.exit_code) +
                                          HintOfOutput(facts.last_output)};
}

JobMessage DescribeMissingOutputs(const std::vector<std::string>& unmatched_patterns,
                                  const std::vector<std::string>& unmatched_outputs) {
  JobMessage message{"No outputs found matching one or more patterns of the action", ""};
  message.hint = "No file matches " + Listing(unmatched_patterns, 20) + ". ";
  message.hint +=
      unmatched_outputs.empty()
          ? "The action made no other files where outputs go; what is in /tmp is not kept"
          : "The action made: " + Listing(unmatched_outputs, 20);
  message.hint += NearMisses(unmatched_patterns, unmatched_outputs);
  return message;
}

}  // namespace carrel
