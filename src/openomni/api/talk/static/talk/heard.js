/** What was heard of a turn's reply, in words; undefined where all of it was, or nobody knows. */
export const heardOf = (record) => record.stages.find(({ output }) => output.heard !== undefined)?.output.heard;
