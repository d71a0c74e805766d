#include "oci/docker_flags.h"

#include <gmock/gmock.h>

namespace carrel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const char* Lookup(const char* name) { return std::string(name) == "KNOWN" ? "value" : nullptr; }

Result<DockerRunOptions> Parse(const std::vector<std::string>& arguments) {
  return ParseDockerRun(arguments, &Lookup);
}

// The call as the job agent makes it.
TEST(DockerFlags, TheAgentsRun) {
  const auto options = Parse({"--init",
                              "--detach",
                              "--label",
                              "job-runner",
                              "--name",
                              "os-job-1",
                              "--pull=never",
                              "--cpus",
                              "1.5",
                              "--memory",
                              "4G",
                              "--user",
                              "10:11",
                              "-e",
                              "HOME=/tmp",
                              "--network",
                              "none",
                              "--mount",
                              "type=bind,source=/srv/v/1,target=/workspace",
                              "--label",
                              "workspace=w",
                              "--env",
                              "KNOWN",
                              "--env",
                              "UNKNOWN",
                              "python:v2",
                              "python",
                              "--name",
                              "x",
                              "-e",
                              "y"});
  ASSERT_TRUE(options.has_value()) << options.error().ToString();
  EXPECT_TRUE(options->detach);
  EXPECT_FALSE(options->remove);
  EXPECT_EQ(options->name, "os-job-1");
  EXPECT_EQ(options->cpu_milli, 1500u);
  EXPECT_EQ(options->memory_bytes, 4ull << 30);
  EXPECT_EQ(options->user, "10:11");
  EXPECT_THAT(options->environment,
              UnorderedElementsAre(Pair("HOME", "/tmp"), Pair("KNOWN", "value")));
  EXPECT_THAT(options->labels,
              UnorderedElementsAre(Pair("job-runner", ""), Pair("workspace", "w")));
  ASSERT_EQ(options->mounts.size(), 1u);
  EXPECT_EQ(options->mounts[0].source, "/srv/v/1");
  EXPECT_FALSE(options->mounts[0].read_only);
  EXPECT_EQ(options->image, "python:v2");
  // What follows the image is the action's, whatever it looks like.
  EXPECT_THAT(options->arguments, ElementsAre("python", "--name", "x", "-e", "y"));
}

TEST(DockerFlags, ShortFlagsJoin) {
  const auto options = Parse({"-di", "-eA=b", "-m512m", "tiny:v1"});
  ASSERT_TRUE(options.has_value()) << options.error().ToString();
  EXPECT_TRUE(options->detach && options->interactive);
  EXPECT_EQ(options->environment.at("A"), "b");
  EXPECT_EQ(options->memory_bytes, 512u << 20);
}

TEST(DockerFlags, TruthValuesAreGos) {
  const auto options = Parse({"-d=false", "--rm=1", "-i=T", "--init=0", "--cpus", "0", "--mount",
                              "type=bind,src=/a,dst=/b,ro=1", "--mount",
                              "type=bind,src=/a,dst=/c,readonly=false", "tiny:v1"});
  ASSERT_TRUE(options.has_value()) << options.error().ToString();
  EXPECT_FALSE(options->detach);
  EXPECT_TRUE(options->remove && options->interactive);
  ASSERT_EQ(options->mounts.size(), 2u);
  EXPECT_TRUE(options->mounts[0].read_only);
  EXPECT_FALSE(options->mounts[1].read_only);
}

class DockerRefusalTest : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(DockerRefusalTest, IsLoud) {
  std::vector<std::string> arguments = GetParam();
  arguments.emplace_back("tiny:v1");
  const auto options = Parse(arguments);
  ASSERT_FALSE(options.has_value());
  EXPECT_EQ(options.error().kind, ErrorKind::kBadInput);
}

INSTANTIATE_TEST_SUITE_P(
    All, DockerRefusalTest,
    ::testing::Values(
        std::vector<std::string>{"--privileged"},
        std::vector<std::string>{"--cap-add", "SYS_ADMIN"},
        std::vector<std::string>{"--security-opt", "seccomp=unconfined"},
        std::vector<std::string>{"--security-opt", "no-new-privileges=false"},
        std::vector<std::string>{"-v", "/:/host"},
        std::vector<std::string>{"--mount", "type=volume,source=v,target=/x"},
        std::vector<std::string>{"--mount",
                                 "type=bind,source=/x,target=/y,bind-propagation=shared"},
        std::vector<std::string>{"--device", "/dev/kvm"}, std::vector<std::string>{"--pid", "host"},
        std::vector<std::string>{"--memory", "lots"}, std::vector<std::string>{"--cpus", "nan"},
        std::vector<std::string>{"--pull", "always"}, std::vector<std::string>{"-n"},
        std::vector<std::string>{"--rm=yes"}, std::vector<std::string>{"--label", "=x"},
        std::vector<std::string>{"--mount", "type=bind,src=/a,dst=/b,ro=maybe"}));

TEST(DockerFlags, Sizes) {
  EXPECT_EQ(ParseDockerSize("-m", "1.5g").value_or(0), 3ull << 29);
  EXPECT_EQ(ParseDockerSize("-m", "64kb").value_or(0), 65536u);
  EXPECT_EQ(ParseDockerSize("-m", "7").value_or(0), 7u);
  for (const char* bad : {"", "g", "-1", "1x", "nan", "inf", "1e30"})
    EXPECT_FALSE(ParseDockerSize("-m", bad).has_value()) << bad;
}

// Docker's files of a log, one after the other, are one here.
TEST(DockerFlags, ALogIsAsLargeAsDockersFiles) {
  const auto bytes = [](std::vector<std::string> words) {
    words.insert(words.end(), {"python:v2", "true"});
    const auto options = Parse(words);
    EXPECT_TRUE(options.has_value()) << options.error().ToString();
    return options ? options->log_bytes : std::nullopt;
  };
  EXPECT_EQ(bytes({}), std::nullopt);
  EXPECT_EQ(bytes({"--log-driver", "json-file", "--log-opt", "max-file=3"}), std::nullopt);
  EXPECT_EQ(bytes({"--log-opt", "max-size=1m"}), 1u << 20);
  EXPECT_EQ(bytes({"--log-driver", "local"}), 100'000'000u);
  EXPECT_EQ(
      bytes({"--log-opt", "max-file=200", "--log-driver", "local", "--log-opt", "compress=true"}),
      4'000'000'000u);
  EXPECT_EQ(bytes({"--log-opt", "max-size=10k", "--log-opt", "max-file=4"}), 40u << 10);
  for (const char* wrong : {"max-file=0", "max-file=", "max-file=x", "max-size=lots"})
    EXPECT_FALSE(Parse({"--log-opt", wrong, "python:v2"}).has_value()) << wrong;
  EXPECT_FALSE(Parse({"--log-driver", "syslog", "python:v2"}).has_value());
}

}  // namespace
}  // namespace carrel
