// carrel doctor: what this host has, line by line.
#include "job/doctor.h"

#include <sched.h>
#include <sys/mount.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "job/sandbox.h"

namespace carrel {
namespace {

const char* StateName(Finding::State state) {
  if (state == Finding::State::kThere) return "ok";
  if (state == Finding::State::kUnknown) return "unknown";
  return state == Finding::State::kAdvice ? "advice" : "missing";
}

void Print(const Finding& finding) {
  printf("%-8s %-16s %s\n", StateName(finding.state), finding.name.c_str(), finding.detail.c_str());
  if (!finding.remedy.empty()) printf("%-8s %-16s -> %s\n", "", "", finding.remedy.c_str());
}

// Trying the audit mounts the state directory's BPF file system where no job has yet: in a mount
// namespace of this process's own, which ends with it. Without root there is nothing to mount.
void KeepMountsToMyself() {
  if (::unshare(CLONE_NEWNS) != 0) return;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    LogError("doctor: the mounts cannot be made private: " + ErrnoName(errno));
}

}  // namespace

int DoctorCommand(int argc, char** argv) {
  CLI::App app("Checks this host: what is there, what is missing, what to do.", "carrel doctor");
  std::string config, state;
  bool json = false;
  AddHostOptions(app, config, state);
  app.add_flag("--json", json, "one JSON object");
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;

  KeepMountsToMyself();
  const std::vector<Finding> findings = ExamineHost(config, state);
  bool ready = true;
  OrderedJson list = OrderedJson::array();
  for (const Finding& finding : findings) {
    ready = ready && finding.state != Finding::State::kMissing &&
            finding.state != Finding::State::kUnknown;
    list.push_back({{"name", finding.name},
                    {"state", StateName(finding.state)},
                    {"detail", finding.detail},
                    {"remedy", finding.remedy}});
    if (!json) Print(finding);
  }
  if (json)
    printf("%s\n", OrderedJson({{"ready", ready}, {"findings", list}}).dump(2).c_str());
  else
    printf("\n%s\n", ready ? "This host can run jobs." : "This host cannot run jobs yet.");
  // What a host lacks is a finding; what the caller lacks is for the caller to mend.
  if (auto root = RequireRoot(); !root) return PrintError(root.error(), "carrel doctor");
  return ready ? 0 : 1;
}

}  // namespace carrel
