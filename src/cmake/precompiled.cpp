// Owner of the precompiled header (src/CMakeLists.txt).
