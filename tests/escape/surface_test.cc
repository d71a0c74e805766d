// The whole surface, seen from inside (tests/payloads/probe.c). A point may be open only with a
// reason that stands here; what analysis code needs must work.
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include <cstddef>
#include <map>
#include <set>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

const std::map<std::string, std::string> kOpenWithReason = {
    {"mountinfo-host-paths",
     "the kernel tells each bind's place in its file system; carrel's own directory and the job's "
     "id are no secrets, and no path can be followed from inside"},
    {"proc-loadavg",
     "sysinfo() tells the same to everybody; programs ask for it to be good guests"},
    {"proc-uptime", "clock_gettime(CLOCK_BOOTTIME) tells the same without any file"},
    {"stdout-read-back", "its own pipe: what it takes back was never in the log"},
};

// Things on the host that must not be reachable from inside.
class HostBait {
 public:
  HostBait() {
    shm_ = ::shmget(kKey, 4096, IPC_CREAT | 0666);
    sem_ = ::semget(kKey, 1, IPC_CREAT | 0666);
    msg_ = ::msgget(kKey, IPC_CREAT | 0666);
    mode_t old = ::umask(0);
    queue_ = ::mq_open("/carrel-probe-host", O_CREAT | O_RDWR, 0666, nullptr);
    ::umask(old);
    EXPECT_NE(shm_, -1);
    EXPECT_NE(sem_, -1);
    EXPECT_NE(msg_, -1);
    EXPECT_NE(queue_, static_cast<mqd_t>(-1));
    ListenAbstract();
    ListenTcp();
  }
  ~HostBait() {
    ::shmctl(shm_, IPC_RMID, nullptr);
    ::semctl(sem_, 0, IPC_RMID);
    ::msgctl(msg_, IPC_RMID, nullptr);
    ::mq_close(queue_);
    ::mq_unlink("/carrel-probe-host");
  }

  std::vector<std::string> Variables() const {
    utsname name{};
    ::uname(&name);
    std::string namespaces;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/ns"))
      namespaces += std::filesystem::read_symlink(entry).string() + " ";
    return {"PROBE_HOST_NS=" + namespaces,
            "PROBE_HOST_NAME=" + std::string(name.nodename),
            "PROBE_HOST_ABSTRACT=" + abstract_name_,
            "PROBE_HOST_TCP=" + std::to_string(tcp_port_),
            "PROBE_HOST_IPC=" + std::to_string(kKey),
            "PROBE_CPUS=1",
            "PROBE_MEMORY=268435456"};
  }

 private:
  static constexpr key_t kKey = 0x6361726c;

  void ListenAbstract() {
    abstract_name_ = "carrel-probe-" + std::to_string(::getpid());
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    abstract_name_.copy(at.sun_path + 1, sizeof at.sun_path - 2);
    unix_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto length =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract_name_.size());
    EXPECT_EQ(::bind(unix_.get(), reinterpret_cast<sockaddr*>(&at), length), 0);
    EXPECT_EQ(::listen(unix_.get(), 4), 0);
  }
  void ListenTcp() {
    tcp_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    EXPECT_EQ(::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(tcp_.get(), 4), 0);
    EXPECT_EQ(::getsockname(tcp_.get(), reinterpret_cast<sockaddr*>(&at), &length), 0);
    tcp_port_ = ntohs(at.sin_port);
  }

  int shm_, sem_, msg_;
  mqd_t queue_;
  UniqueFd unix_, tcp_;
  std::string abstract_name_;
  int tcp_port_ = 0;
};

struct Points {
  std::map<std::string, std::string> state;  // name -> closed, open, works, broken
  std::map<std::string, std::string> line;
};

Points Parse(const std::string& text) {
  Points points;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": "), bracket = line.find(" (", colon);
    if (colon == std::string::npos || bracket == std::string::npos) {
      ADD_FAILURE() << "not a point: " << line;
      continue;
    }
    const std::string name = line.substr(0, colon);
    EXPECT_FALSE(points.state.contains(name)) << "twice: " << name;
    points.state[name] = line.substr(colon + 2, bracket - colon - 2);
    points.line[name] = line;
  }
  return points;
}

Points Probe(const std::vector<std::string>& more_options, const std::vector<std::string>& more) {
  Jail jail({"probe"});
  jail.AddProgram(Payload("probe"), "/setuid-probe");
  EXPECT_EQ(::chmod((jail.rootfs() + "/setuid-probe").c_str(), 06755), 0);
  EXPECT_EQ(::mknod((jail.rootfs() + "/image-device").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  EXPECT_EQ(::chmod((jail.rootfs() + "/image-device").c_str(), 0666), 0);
  HostBait bait;
  std::vector<std::string> options = {"--id", "probe",  "--memory", "256M",       "--pids",
                                      "100",  "--cpus", "1",        "--writable", "/work"};
  options.insert(options.end(), more_options.begin(), more_options.end());
  std::vector<std::string> variables = bait.Variables();
  variables.insert(variables.end(), more.begin(), more.end());
  for (const std::string& variable : variables) {
    options.push_back("--env");
    options.push_back(variable);
  }
  options.insert(options.end(), {"--", "/probe"});
  const Outcome outcome = jail.Run(options);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  jail.ExpectNothingLeft("probe");
  return Parse(outcome.out);
}

void Judge(const Points& points) {
  EXPECT_TRUE(points.state.contains("end")) << "the probe did not come to its end";
  EXPECT_GE(points.state.size(), 500u);
  for (const auto& [name, state] : points.state) {
    if (state == "closed" || state == "works") continue;
    if (state == "open" && kOpenWithReason.contains(name)) continue;
    ADD_FAILURE() << points.line.at(name);
  }
}

TEST(Surface, EveryPointIsClosedOrHasAReason) {
  const Points points = Probe({}, {});
  Judge(points);
  for (const auto& [name, reason] : kOpenWithReason)
    EXPECT_EQ(points.state.at(name), "open") << "a reason that is not needed: " << name;
}

// With loopback sockets: those work, and nothing else opens.
TEST(Surface, LoopbackSocketsOpenNothingElse) {
  const Points points = Probe({"--allow-loopback-sockets"}, {"PROBE_LOOPBACK=1"});
  Judge(points);
  EXPECT_EQ(points.state.at("loopback-tcp"), "works");
  EXPECT_EQ(points.state.at("host-loopback-tcp"), "closed");
}

// The probe's calls without the sandbox, as root in namespaces of their own (so that "pid 1" and
// "/tmp" are its own): most reach the kernel. A probe that called everything closed would show
// nothing.
TEST(Surface, TheProbeSeesWhatIsOpen) {
  TempDir directory;
  const std::string out = directory / "out";
  const pid_t outer = ::fork();
  ASSERT_GE(outer, 0);
  if (outer == 0) {
    ::setsid();
    const int fd = ::open(out.c_str(), O_CREAT | O_WRONLY, 0600);
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/tmp", "tmpfs", 0, nullptr) != 0 || fd < 0 || ::dup2(fd, 1) != 1)
      ::_exit(125);
    const pid_t inner = ::fork();
    if (inner == 0) {
      ::execl(Payload("probe").c_str(), "probe", "--calls", nullptr);
      ::_exit(126);
    }
    int status = 0;
    ::waitpid(inner, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 124);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(outer, &status, 0), outer);
  ASSERT_EQ(status, 0);
  const Points points = Parse(ReadText(out));
  for (const char* name :
       {"call-unshare-files", "call-mount", "call-fsconfig", "call-bpf", "call-pidfd_getfd",
        "call-quotactl_fd", "call-io_uring_setup", "call-keyctl-id", "call-personality-linux32",
        "call-mknod-char", "call-ioctl-unknown", "int80-getpid", "clone-newuser"})
    EXPECT_EQ(points.state.at(name), "open") << points.line.at(name);
}

}  // namespace
}  // namespace carrel::testing_support
