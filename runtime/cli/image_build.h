#pragma once

namespace carrel {

/// `carrel image build RECIPE`: argv[0] is "build". Returns carrel's exit status.
int ImageBuildCommand(int argc, char** argv);

}  // namespace carrel
