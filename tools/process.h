#pragma once

namespace lorsa::tools {

/// Makes a process safe from what it may be started with or lose: called first of all.
///
/// A standard stream that is closed is opened onto /dev/null, or the first file of a run would get
/// its number and the log's lines; results still cannot be written to a closed standard output.
/// Writing into a pipe that nobody reads and beyond a limit on file sizes becomes an error of the
/// write instead of the end of the process (SIGPIPE, SIGXFSZ), so that a training outlives
/// `2>&1 | head` and a full disk is told from a crash.
void secure_process();

/// Flushes standard output. Throws IoError if results could not be written; where nobody reads them
/// any more (`| head`) it ends the process as SIGPIPE does, silently.
void finish_output();

}  // namespace lorsa::tools
