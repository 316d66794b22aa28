"""The whole pipeline in other people's servers, to be measured against ours. See README.md in this folder."""
