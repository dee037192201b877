# Defines lorsa_torch from the CPU libraries of the torch wheel in LORSA_TORCH_ROOT.
#
# find_package(Torch) of a CUDA wheel is fatal without a toolkit, but its libtorch_cpu and libc10 stand alone, and the CUDA
# libraries can be loaded behind them (liblorsa_cuda). The installed package uses this file too: a program that links lorsa
# sees no CUDA.

if(NOT EXISTS "${LORSA_TORCH_ROOT}/include/ATen/ATen.h")
  message(FATAL_ERROR "LORSA_TORCH_ROOT=\"${LORSA_TORCH_ROOT}\" holds no LibTorch: give the folder of an installed "
                      "torch==2.11.0 wheel (.../site-packages/torch); in the sources, scripts/setup.sh installs one")
endif()
file(READ "${LORSA_TORCH_ROOT}/version.py" lorsa_torch_version)
string(REGEX MATCH "__version__ = '([0-9]+\\.[0-9]+)" lorsa_torch_version "${lorsa_torch_version}")
if(NOT CMAKE_MATCH_1 VERSION_EQUAL 2.11)
  message(FATAL_ERROR "LibTorch ${CMAKE_MATCH_1} in ${LORSA_TORCH_ROOT}: 2.11 is needed")
endif()

# lorsa_torch_library(NAME): an imported target lorsa_NAME for libNAME.so of the wheel.
function(lorsa_torch_library name)
  add_library(lorsa_${name} SHARED IMPORTED GLOBAL)
  set_target_properties(lorsa_${name} PROPERTIES IMPORTED_LOCATION "${LORSA_TORCH_ROOT}/lib/lib${name}.so")
endfunction()

# lorsa_torch is imported so that the exported lorsa::lorsa may name it.
if(NOT TARGET lorsa_torch)
  add_library(lorsa_torch INTERFACE IMPORTED GLOBAL)
  lorsa_torch_library(torch_cpu)
  lorsa_torch_library(c10)
  target_link_libraries(lorsa_torch INTERFACE lorsa_torch_cpu lorsa_c10)
  target_include_directories(lorsa_torch SYSTEM INTERFACE
    "${LORSA_TORCH_ROOT}/include" "${LORSA_TORCH_ROOT}/include/torch/csrc/api/include")
endif()
