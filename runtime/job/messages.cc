#include "job/messages.h"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <map>

#include "job/utf8.h"

namespace carrel {
namespace {

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[32];
  snprintf(text, sizeof text, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

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
                                          std::to_string(facts.exit_code)};
}

JobMessage DescribeMissingOutputs(const std::vector<std::string>& unmatched_patterns,
                                  const std::vector<std::string>& unmatched_outputs) {
  JobMessage message{"No outputs found matching one or more patterns of the action", ""};
  message.hint = "No file matches " + Listing(unmatched_patterns, 20) + ". ";
  message.hint += unmatched_outputs.empty() ? "The action made no other files"
                                            : "The action made: " + Listing(unmatched_outputs, 20);
  return message;
}

}  // namespace carrel
