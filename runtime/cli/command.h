// The table of commands. One file per command: parse the options, call one function, print one
// result. Only the named command's options are built, so that a start pays for nothing else.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// A command gets its own arguments (argv[0] is its name) and returns the exit status of carrel.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

int AuditCommand(int argc, char** argv);
int CleanupCommand(int argc, char** argv);
int DockerCommand(int argc, char** argv);
int DbtaskCommand(int argc, char** argv);
int DoctorCommand(int argc, char** argv);
int ExecCommand(int argc, char** argv);
int ExecuteCommand(int argc, char** argv);
int FinalizeCommand(int argc, char** argv);
int GcCommand(int argc, char** argv);
int ImageCommand(int argc, char** argv);
int KillCommand(int argc, char** argv);
int ListCommand(int argc, char** argv);
int LogsCommand(int argc, char** argv);
int MetricsCommand(int argc, char** argv);
int PipelineCommand(int argc, char** argv);
int PolicyCommand(int argc, char** argv);
int PrepareCommand(int argc, char** argv);
int RunCommand(int argc, char** argv);
int SelftestCommand(int argc, char** argv);
int StatsCommand(int argc, char** argv);
int StatusCommand(int argc, char** argv);
int TerminateCommand(int argc, char** argv);

/// Parses with CLI11; on bad options (or --help) prints and sets `*status`, and returns false. What
/// is wrong with an option is said as "carrel COMMAND: ...".
bool ParseOptions(CLI::App& app, int argc, char** argv, int* status);

/// Prints "carrel: <error>" on stderr and returns the exit status of its kind: the one place where
/// errors become text. `program` for a command whose every message names it ("carrel exec").
int PrintError(const Error& error, const std::string& program = "carrel");

}  // namespace carrel
