//! What a person sees of a job: progress, summary, result file.
